import Foundation

extension String {
  /// The text as a field of a CSV file (RFC 4180): in quotation marks where it needs them.
  public var csvField: String {
    guard contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return self }
    return "\"\(replacingOccurrences(of: "\"", with: "\"\""))\""
  }
}
