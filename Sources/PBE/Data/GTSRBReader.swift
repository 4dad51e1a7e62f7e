import Kernels

/// The German Traffic Sign Recognition Benchmark: PPM files, and csv files that tell their classes.
enum GTSRBReader {
  static let classes = 43

  /// An image's file and its class.
  struct Entry: Sendable {
    let path: String
    let label: Int32
  }

  private static let remedy =
    "name the folder with Final_Training and Final_Test, as GTSRB's own archives unpack them"
  /// Real csv files have at most 450 KB.
  private static let longestTable = 16 << 20

  static func folder(in directory: String, split: DatasetKind.Split) throws -> String {
    try DatasetFolder.find(
      "GTSRB", in: directory, subfolders: ["", "GTSRB", "gtsrb", "gtsrb/GTSRB"],
      markers: split == .train ? ["Final_Training/Images", "Training"] : ["Final_Test/Images"], remedy: remedy
    )
  }

  static func load(directory: String, split: DatasetKind.Split, side: Int, name: String) throws
    -> LabeledImages
  {
    let root = try folder(in: directory, split: split)
    let entries = split == .train ? try trainEntries(root) : try testEntries(root)
    guard !entries.isEmpty else {
      throw PBEError(.badData, "the \(split.rawValue) set has no images", at: root, remedy: remedy)
    }
    return try LabeledImages(
      name: name, channels: 3, height: side, width: side, classes: classes,
      classNames: DatasetKind.gtsrb.classNames,
      pixels: try ImageFiles.pixels(of: entries.map(\.path), side: side, channels: 3, decode: picture),
      labels: entries.map(\.label))
  }

  private static func trainEntries(_ root: String) throws -> [Entry] {
    let images = DatasetFolder.join(root, "Final_Training/Images")
    let base = InputFile.isFolder(images) ? images : DatasetFolder.join(root, "Training")
    return try (0..<classes).flatMap { label in
      let name = padded(label, to: 5)
      let folder = DatasetFolder.join(base, name)
      guard InputFile.isFolder(folder) else {
        throw PBEError(
          .missingInput, "the folder of class \(label) is missing; \(classes) classes were expected",
          at: folder,
          remedy: remedy)
      }
      return try entries(DatasetFolder.join(folder, "GT-\(name).csv"), images: folder, label: label)
    }
  }

  private static func testEntries(_ root: String) throws -> [Entry] {
    // The archive of the test images brings a table without classes; the one with them comes apart, and has no
    // fixed place.
    let names = ["Final_Test/Images/GT-final_test.csv", "Final_Test/GT-final_test.csv", "GT-final_test.csv"]
    let places = (names + ["../GT-final_test.csv"]).map { DatasetFolder.join(root, $0) }
    guard let table = places.first(where: InputFile.exists) else {
      throw PBEError(
        .missingInput, "the table of the test images' classes is missing", at: places[0],
        remedy: "it is in GTSRB_Final_Test_GT.zip: put GT-final_test.csv here")
    }
    return try entries(table, images: DatasetFolder.join(root, "Final_Test/Images"), label: nil)
  }

  /// The images that one csv file lists; with a `label`, all must be of that class.
  private static func entries(_ path: String, images: String, label: Int?) throws -> [Entry] {
    let table = try SemicolonTable(
      try InputFile.read(path, limit: longestTable, remedy: remedy), path: path)
    let names = try table.column("Filename", remedy: remedy)
    let labels = try table.column(
      "ClassId", remedy: label == nil ? "the table with classes is in GTSRB_Final_Test_GT.zip" : remedy)
    // A part of the set, as `poison --limit` writes it, may lack a class.
    guard try !table.rows.isEmpty || (label != nil && isAlone(path, in: images)) else {
      throw PBEError(.badData, "the table lists no image", at: path, remedy: "unpack it again")
    }
    var seen: Set<String> = []
    return try table.rows.map { row in
      let name = row.fields[names]
      let text = row.fields[labels]
      let shown = name.printable()
      let place = "\(path):\(row.line)"
      guard !name.isEmpty, !name.contains("/"), !name.contains("\0") else {
        throw PBEError(
          .badData, "\"\(shown)\" is no file name", at: place, remedy: "unpack the csv file again")
      }
      guard let value = Int32(text), value >= 0, value < classes else {
        throw PBEError(
          .badData, "\(shown) has class \"\(text.printable())\"; classes are 0 to \(classes - 1)", at: place,
          remedy: "unpack the csv file again")
      }
      if let label, Int(value) != label {
        throw PBEError(
          .badData, "\(shown) has class \(value), but lies in the folder of class \(label)", at: place,
          remedy: "unpack the folder again")
      }
      // A short table could name one image many times, and fill the memory.
      guard seen.insert(name).inserted else {
        throw PBEError(.badData, "\(shown) is listed twice", at: place, remedy: "unpack the csv file again")
      }
      return Entry(path: DatasetFolder.join(images, name), label: value)
    }
  }

  /// True if `folder` holds nothing but the file at `path` and hidden ones: file managers leave some behind.
  private static func isAlone(_ path: String, in folder: String) throws -> Bool {
    try FolderListing.names(in: folder).allSatisfy { DatasetFolder.join(folder, $0) == path }
  }

  private static func picture(_ path: String) throws -> Picture {
    let bytes = try InputFile.read(path, limit: Picture.largestFile, remedy: "unpack the images again")
    let picture = try Picture(ppm: bytes, name: path)
    guard picture.channels == 3 else {
      throw PBEError(
        .badData, "the image is grey; GTSRB's are RGB", at: path,
        remedy: "unpack the images again; an image folder may be grey (--dataset folder --grey)")
    }
    return picture
  }
}
