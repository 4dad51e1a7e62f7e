import Foundation
import Kernels

/// What PBE learned of each training image, as CSV: `index,label,agreement,kept,probability,suggested,answer`, and
/// where the truth is known `poisoned`, and `cross` if there are cross images; last, where each image has a file of its own,
/// `file`, in the data set's folder. The label is the training set's; low
/// agreement means probably poisoned; `kept` lists the steps (from 0) that fine-tuned on the image with its label;
/// `probability` and `suggested` are ``Identification``'s, and `answer` is the purified model's.
public enum AgreementTable {
  /// Its name in a run's folder.
  public static let name = "agreement.csv"

  /// One training image.
  public struct Row: Sendable, Equatable {
    /// In the order of the training set, from 0.
    public var index: Int
    /// In the training set.
    public var label: Int
    /// Of infected and purified model, 0 to 1.
    public var agreement: Float
    /// That the image carries a trigger; `nil` in files of older versions, as the next ones.
    public var probability: Float?
    /// Whether it seems poisoned.
    public var suggested: Bool?
    /// The purified model's.
    public var answer: Int?
    /// Whether it is poisoned; `nil` where nobody knows.
    public var poisoned: Bool?
    /// Whether it is a cross image; `nil` where nobody knows or there are none.
    public var cross: Bool?
  }

  /// Writes the table; `truth` is what each image is, where that is known, and `files` are the images' files. Throws
  /// `cannotCreate` or `inputOutput`.
  public static func write(
    _ outcome: PurificationOutcome, labels: [Int32], truth: [ImageRole]?, files: [String]? = nil,
    to path: String
  ) throws {
    let roles: [(name: String, role: ImageRole)] =
      truth.map { [("poisoned", .poisoned)] + ($0.contains(.cross) ? [("cross", .cross)] : []) } ?? []
    var text =
      "index,label,agreement,kept,probability,suggested,answer\(roles.map { ",\($0.name)" }.joined())"
      + (files == nil ? "\n" : ",file\n")
    for (index, label) in labels.enumerated() {
      let kept = outcome.kept[index].map(String.init).joined(separator: " ")
      text += "\(index),\(label),\(outcome.agreement[index]),\(kept)"
      if let found = outcome.identification {
        text +=
          ",\(Float(found.probabilities[index])),\(found.suggested[index] ? 1 : 0),\(found.answers[index])"
      }
      if let truth { for (_, role) in roles { text += truth[index] == role ? ",1" : ",0" } }
      // A line for each image, whatever its file is called.
      if let files { text += ",\(files[index].printable(limit: .max).csvField)" }
      text += "\n"
    }
    try AtomicFile.write(text, to: path)
  }

  /// Reads a table that this or an older version wrote: columns by their names, unknown ones left out. Throws
  /// `missingInput` when it can't be read, `badData` naming the first line that is wrong.
  public static func read(_ path: String) throws -> [Row] {
    let bytes = try InputFile.read(path, limit: 1 << 30, remedy: "check the path and the permissions")
    let lines = bytes.split(separator: UInt8(ascii: "\n"))
    // The name of a file, which comes last, may have commas.
    func cells(_ line: ArraySlice<UInt8>, most: Int = .max) -> [String] {
      line.split(separator: UInt8(ascii: ","), maxSplits: most - 1, omittingEmptySubsequences: false).map {
        String(decoding: $0, as: UTF8.self)
      }
    }
    func wrong(_ line: Int) -> PBEError {
      PBEError(
        .badData, "line \(line) is not of a table of agreements", at: path,
        remedy: "the file is damaged: run erase again")
    }
    let columns = cells(lines.first ?? [])
    guard let index = columns.firstIndex(of: "index"), let label = columns.firstIndex(of: "label"),
      let agreement = columns.firstIndex(of: "agreement"), bytes.last == UInt8(ascii: "\n")
    else { throw wrong(lines.count) }
    let optional = ["probability", "suggested", "answer", "poisoned", "cross"].map {
      columns.firstIndex(of: $0)
    }
    return try lines.dropFirst().enumerated().map { number, line in
      let cells = cells(line, most: columns.last == "file" ? columns.count : .max)
      func numbers<Value: LosslessStringConvertible>(_ at: Int?, _ isValid: (Value) -> Bool) throws -> Value?
      {
        guard let at else { return nil }
        guard let value = Value(cells[at]), isValid(value) else { throw wrong(number + 2) }
        return value
      }
      guard cells.count == columns.count, let row = Int(cells[index]), row == number,
        let label = Int(cells[label]), label >= 0, let agreement = Float(cells[agreement]),
        (-0.01...1.01).contains(agreement)
      else { throw wrong(number + 2) }
      let isBit: (Int) -> Bool = { $0 == 0 || $0 == 1 }
      return Row(
        index: row, label: label, agreement: agreement,
        probability: try numbers(optional[0]) { (0...1).contains($0) },
        suggested: try numbers(optional[1], isBit).map { $0 == 1 },
        answer: try numbers(optional[2]) { $0 >= 0 },
        poisoned: try numbers(optional[3], isBit).map { $0 == 1 },
        cross: try numbers(optional[4], isBit).map { $0 == 1 })
    }
  }
}
