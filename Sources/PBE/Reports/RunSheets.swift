import Foundation
import Kernels

/// Contact sheets in a run's folder, which a report shows: PNG files, and `sheets.json` that says what is on them.
struct RunSheets: Codable, Sendable, Equatable {
  /// One PNG file.
  struct Sheet: Codable, Sendable, Equatable {
    /// The file's name in the folder.
    var file: String
    /// What it shows.
    var title: String
    /// What each of its rows shows, from the top.
    var rows: [String]
    /// Of training images, their numbers in the training set, from the left.
    var images: [Int]?
    /// Of test images, their labels, from the left.
    var labels: [Int]?
    /// Of test images, what models answer to them.
    var answers: [Answers]?
  }

  /// What a model answers to the images of a row.
  struct Answers: Codable, Sendable, Equatable {
    /// The model and the row.
    var name: String
    /// From the left.
    var labels: [Int]
  }

  /// The name of the file that describes the sheets.
  static let record = "sheets.json"
  private static let version = 1

  /// Of this format.
  var version = RunSheets.version
  /// The classes' names, where known.
  var classes: [String]?
  /// The sheets, in the order to show them in.
  var sheets: [Sheet] = []

  /// A sheet with its PNG file.
  struct Picture: Sendable {
    var sheet: Sheet
    var png: [UInt8]
    var width: Int, height: Int
  }

  /// Reads `sheets.json` and the files that it names. Throws `missingInput`, or `badData` when one of them is damaged.
  static func read(in folder: String) throws -> (classes: [String]?, pictures: [Picture]) {
    let path = "\(folder)/\(record)"
    let remedy = "the report can be made without it: delete the file"
    let bytes = try InputFile.read(path, limit: 1 << 24, remedy: remedy)
    guard let found = try? JSONDecoder().decode(RunSheets.self, from: Data(bytes)), found.version == version
    else {
      throw PBEError(.badData, "this does not describe contact sheets", at: path, remedy: remedy)
    }
    return (
      found.classes,
      try found.sheets.prefix(20).map { sheet in
        // A name from a file must not lead out of the folder.
        guard !sheet.file.contains("/"), sheet.rows.count > 0 else {
          throw PBEError(.badData, "this does not describe contact sheets", at: path, remedy: remedy)
        }
        let place = "\(folder)/\(sheet.file)"
        let png = try InputFile.read(place, limit: 1 << 24, remedy: remedy)
        // What a browser gets is a PNG that this program can read.
        let picture = try PBE.Picture(png: png, name: place, channels: 4)
        return Picture(sheet: sheet, png: png, width: picture.width, height: picture.height)
      }
    )
  }
}
