import Foundation
import Kernels
import PBE

/// Results on standard output.
enum Output {
  /// Prints a line. Throws `inputOutput` when standard output can't be written.
  static func line(_ text: String) throws {
    do { try FileHandle.standardOutput.write(contentsOf: Data("\(text.visible)\n".utf8)) } catch {
      throw PBEError(.inputOutput, "standard output can't be written")
    }
  }

  /// Prints one JSON object.
  static func json(_ value: some Encodable) throws { try json(text: text(value)) }

  /// Prints the text of one JSON object. Control characters that JSON allows in its strings are written as it escapes them.
  static func json(text: String) throws {
    try line(text.escaping(\.isHidden) { String(format: "\\u%04x", $0.value) })
  }

  /// A value as JSON text with sorted keys.
  static func text(_ value: some Encodable) throws -> String {
    String(try AnalysisJSON.text(value).dropLast())
  }

  /// Prints columns, numbers and words aligned to the left.
  static func table(_ rows: [[String]]) throws {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    for row in rows {
      let cells = zip(row, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
      var text = cells.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      try line(text)
    }
  }

  /// A fraction as per cent with two decimals, or a dash.
  static func percent(_ fraction: Double?) -> String {
    fraction.map { String(format: "%.2f", 100 * $0) } ?? "-"
  }

  /// A number with four decimals.
  static func number(_ value: Double) -> String { String(format: "%.4f", value) }

  /// Throws `usage` when writing to `output`, which `option` gives, would overwrite the file that is read from `input`.
  static func check(_ input: String, isNot output: String, option: String = "--output") throws {
    guard isSame(input, output) else { return }
    throw PBEError(
      .usage, "the result would overwrite a file that is being read", at: output,
      remedy: "choose another \(option)")
  }

  /// Whether two paths lead to the same file or folder.
  static func isSame(_ a: String, _ b: String) -> Bool {
    var (one, other) = (stat(), stat())
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev
      && one.st_ino == other.st_ino
  }

  /// Creates a folder with its parents, unless it is there, and makes sure that files can be created in it: better
  /// now than after hours of work. Throws `cannotCreate`, or `inputOutput` when the disk is full.
  static func makeDirectory(_ path: String) throws {
    try OutputFolder.makeFolder(path, shown: path)
    guard access(path, W_OK | X_OK) == 0 else {
      throw PBEError(
        .cannotCreate, "files can't be created in this folder (\(String(cString: strerror(errno))))",
        at: path,
        remedy: "choose another --output, or check its permissions")
    }
  }
}

extension String {
  /// The text with its control characters, but for line breaks, made visible.
  var visible: String { escaping(\.isHidden) }
}

extension Unicode.Scalar {
  fileprivate var isHidden: Bool { self != "\n" && properties.generalCategory == .control }
}
