import Foundation

extension String {
  /// The text as a field of a CSV file (RFC 4180): in quotation marks where it needs them.
  public var csvField: String {
    // By scalars: with an accent behind it a comma is another character.
    guard unicodeScalars.contains(where: { $0 == "," || $0 == "\"" || Character($0).isNewline }) else {
      return self
    }
    var field = "\""
    for scalar in unicodeScalars {
      if scalar == "\"" { field.unicodeScalars.append(scalar) }
      field.unicodeScalars.append(scalar)
    }
    field.unicodeScalars.append("\"")
    return field
  }

  /// The same text on one line: its lines without what indents them, a space between.
  var onOneLine: String {
    split(whereSeparator: \.isNewline).map { $0.drop(while: \.isWhitespace) }.joined(separator: " ")
  }
}
