import Foundation
import Kernels

/// Lenient reading of records: what is not there, or is something else, is `nil`. A report shows what it finds.
extension StrictJSON {
  /// The member of an object.
  subscript(name: String) -> StrictJSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// A finite number.
  var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .otherNumber(let text): Double(text).flatMap { $0.isFinite ? $0 : nil }
    default: nil
    }
  }

  /// A string.
  var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  /// The elements of an array; none for anything else.
  var elements: [StrictJSON] {
    guard case .array(let elements) = self else { return [] }
    return elements
  }

  /// The numbers of an array; `nil` unless all elements are.
  var numbers: [Double]? {
    guard case .array(let elements) = self else { return nil }
    let numbers = elements.compactMap(\.number)
    return numbers.count == elements.count ? numbers : nil
  }

  /// A value that is neither array nor object, as people read it; arrays of such with commas between.
  var words: String? {
    switch self {
    case .null: return "none"
    case .bool(let value): return value ? "yes" : "no"
    case .integer(let value): return String(value)
    case .otherNumber(let text):
      if text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) { return text }
      // Records hold float32 numbers as doubles: 0.0235294122248888.
      return Double(text).map { String(format: "%.6g", $0) } ?? text
    case .string(let text): return text
    case .array(let elements):
      let words = elements.compactMap { element -> String? in
        if case .object = element { return nil }
        return element.words
      }
      guard words.count == elements.count else { return nil }
      return words.isEmpty ? "none" : words.joined(separator: ", ")
    case .object: return nil
    }
  }

  /// Every value by its path, `augmentation.cropPadding`; arrays of objects are left out.
  var leaves: [(path: String, words: String)] {
    guard case .object(let members) = self else { return [] }
    return members.flatMap { name, value in
      if let words = value.words { return [(name, words)] }
      return value.leaves.map { ("\(name).\($0.path)", $0.words) }
    }
  }

  /// Reads a record that a run wrote, an object. Throws `missingInput` or `badData`.
  static func read(_ path: String, limit: Int = 1 << 26) throws -> StrictJSON {
    let bytes = try InputFile.read(path, limit: limit, remedy: "check the path and the permissions")
    let found = try parse(bytes[...], place: path)
    guard case .object = found else { throw PBEError(.badData, "it is not an object", at: path) }
    return found
  }
}
