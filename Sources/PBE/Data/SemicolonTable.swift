import Kernels

/// GTSRB's csv files: a header line and rows, fields between semicolons, never quoted, lines ended by LF or CRLF.
struct SemicolonTable {
  /// A row with the number of its line in the file, from 1 on.
  struct Row {
    let line: Int
    let fields: [String]
  }

  let path: String
  let header: [String]
  let rows: [Row]

  /// Takes a file's contents apart; throws `badData` with file and line for a row whose fields don't match the
  /// header.
  init(_ bytes: [UInt8], path: String) throws {
    self.path = path
    var header: [String]?
    var rows: [Row] = []
    // Spreadsheets write a byte order mark before the header.
    let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
    let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, raw) in lines.enumerated() {
      let line = raw.last == UInt8(ascii: "\r") ? raw.dropLast() : raw
      if line.isEmpty { continue }
      let fields = line.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
      guard fields.allSatisfy(\.isStreamSafe) else {
        throw PBEError(
          .badData, "a field has more than 30 marks in a row", at: "\(path):\(index + 1)",
          remedy: "unpack the csv file again")
      }
      guard let expected = header?.count else {
        // As for JSON: a file must not mean two things to two readers.
        let names = fields.filter { !$0.isEmpty }
        guard Set(names).count == names.count else {
          throw PBEError(
            .badData, "the header names a column twice", at: "\(path):\(index + 1)",
            remedy: "unpack the csv file again")
        }
        header = fields
        continue
      }
      guard fields.count == expected else {
        throw PBEError(
          .badData, "the line has \(fields.count) fields; the header has \(expected)",
          at: "\(path):\(index + 1)",
          remedy: "unpack the csv file again")
      }
      rows.append(Row(line: index + 1, fields: fields))
    }
    self.header = header ?? []
    self.rows = rows
  }

  /// The place of a column; throws `badData` when the header lacks it.
  func column(_ name: String, remedy: String) throws -> Int {
    guard let index = header.firstIndex(of: name) else {
      throw PBEError(.badData, "the header has no column \(name)", at: "\(path):1", remedy: remedy)
    }
    return index
  }
}
