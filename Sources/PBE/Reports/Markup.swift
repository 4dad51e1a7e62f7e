import Mustache

/// Text that becomes part of an HTML page or of an inline SVG.
enum Markup {
  /// The longest text from a file that a page shows, in characters.
  static let longest = 1000

  /// `text` with everything escaped that means something in HTML, as an element's text or between double quotes; control
  /// characters and marks that change the direction of writing are made visible, and very long texts are cut.
  ///
  /// By Unicode scalar: to Swift a quotation mark with an accent on it is one character, to a browser it ends the quotation.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.printable(limit: longest).unicodeScalars {
      switch scalar {
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "&": result += "&amp;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

/// What templates escape by; the library's own way goes by Swift's characters.
struct MarkupContentType: MustacheContentType {
  /// The name that templates know it by.
  static let name = "MARKUP"

  func escapeText(_ text: String) -> String { Markup.escaped(text) }
}
