import Kernels

/// MNIST's idx files: a big-endian magic number (type 8 = unsigned byte, then the rank), the extents, the bytes.
enum IDXReader {
  /// A hostile header must not make the program reserve memory; the real sets have 60,000 images of 28 x 28.
  private static let mostImages = 10_000_000
  private static let mostBytes = 1 << 30
  private static let side = 28

  static func folder(of kind: DatasetKind, in directory: String, split: DatasetKind.Split) throws -> String {
    let prefix = prefix(split)
    return try DatasetFolder.find(
      kind.rawValue, in: directory, subfolders: subfolders(of: kind),
      markers: variants(prefix, "images", rank: 3), remedy: remedy(prefix))
  }

  static func load(
    kind: DatasetKind, directory: String, split: DatasetKind.Split, name: String
  ) throws -> LabeledImages {
    let folder = try folder(of: kind, in: directory, split: split)
    let prefix = prefix(split)
    let remedy = remedy(prefix)
    let imagePath = try path(of: variants(prefix, "images", rank: 3), in: folder, remedy: remedy)
    let labelPath = try path(of: variants(prefix, "labels", rank: 1), in: folder, remedy: remedy)

    let images = try read(imagePath, rank: 3, remedy: remedy)
    let labels = try read(labelPath, rank: 1, remedy: remedy)
    guard labels.extents[0] == images.extents[0] else {
      throw PBEError(
        .badData, "the file has \(labels.extents[0]) labels for \(images.extents[0]) images of \(imagePath)",
        at: labelPath, remedy: "both files must be of the same part of the same data set")
    }
    let classes = kind.classNames.count
    if let wrong = labels.bytes.firstIndex(where: { $0 >= classes }) {
      throw PBEError(
        .badData,
        "record \(wrong) has label \(labels.bytes[wrong]); labels are 0 to \(classes - 1)",
        at: labelPath,
        remedy: "download the file again")
    }
    return try LabeledImages(
      name: name, channels: 1, height: side, width: side, classes: classes,
      classNames: kind.classNames, pixels: images.bytes, labels: labels.bytes.map(Int32.init))
  }

  /// Reads one idx file of unsigned bytes with `rank` extents, plain or gzipped.
  private static func read(
    _ path: String, rank: Int, remedy: String
  ) throws -> (extents: [Int], bytes: [UInt8]) {
    let file = try GzipFile(path, remedy: remedy)
    let header = try file.read(upTo: 4 + 4 * rank)
    guard header.count == 4 + 4 * rank else {
      throw PBEError(
        .badData, "the header has \(header.count) bytes; \(4 + 4 * rank) were expected", at: path,
        remedy: remedy)
    }
    let magic = bigEndian(header, at: 0)
    guard magic == 0x800 + rank else {
      throw PBEError(
        .badData,
        "the file starts with the number \(magic); an idx\(rank) file of bytes starts with "
          + "\(0x800 + rank)", at: path, remedy: remedy)
    }
    let extents = (0..<rank).map { bigEndian(header, at: 4 + 4 * $0) }
    // In this order the product can't overflow.
    guard extents[0] > 0, extents[0] <= mostImages,
      extents.dropFirst().allSatisfy({ (1...4096).contains($0) }),
      case let size = extents.reduce(1, *), size <= mostBytes
    else {
      let text = extents.map(String.init).joined(separator: " x ")
      throw PBEError(.badData, "the header's extents \(text) make no sense", at: path, remedy: remedy)
    }
    // Before anything is unpacked.
    guard extents.dropFirst().allSatisfy({ $0 == side }) else {
      throw PBEError(
        .badData, "the images are \(extents[1]) x \(extents[2]); these data sets have \(side) x \(side)",
        at: path,
        remedy: remedy)
    }
    let bytes = try file.read(upTo: size)
    guard bytes.count == size else {
      throw PBEError(
        .badData,
        "the file is cut off: its contents have \(header.count + bytes.count) bytes; "
          + "\(header.count + size) were expected", at: path, remedy: "download it again")
    }
    guard try file.read(upTo: 1).isEmpty else {
      throw PBEError(
        .badData, "the file has more than the \(header.count + size) bytes that its header tells", at: path,
        remedy: "download it again")
    }
    return (extents, bytes)
  }

  private static func bigEndian(_ bytes: [UInt8], at offset: Int) -> Int {
    bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
  }

  private static func prefix(_ split: DatasetKind.Split) -> String { split == .train ? "train" : "t10k" }

  private static func remedy(_ prefix: String) -> String {
    "name the folder with \(prefix)-images-idx3-ubyte and \(prefix)-labels-idx1-ubyte (each plain or with .gz)"
  }

  /// The names that these files go by: as published, with a dot, gzipped.
  private static func variants(_ prefix: String, _ content: String, rank: Int) -> [String] {
    ["\(prefix)-\(content)-idx\(rank)-ubyte", "\(prefix)-\(content).idx\(rank)-ubyte"].flatMap {
      [$0, $0 + ".gz"]
    }
  }

  private static func path(of names: [String], in folder: String, remedy: String) throws -> String {
    let paths = names.map { DatasetFolder.join(folder, $0) }
    guard let found = paths.first(where: InputFile.exists) else {
      throw PBEError(.missingInput, "the file is missing, with and without .gz", at: paths[0], remedy: remedy)
    }
    return found
  }

  private static func subfolders(of kind: DatasetKind) -> [String] {
    let names =
      kind == .mnist ? ["mnist", "MNIST"] : ["fashion-mnist", "FashionMNIST", "dataset-fashion-mnist"]
    return [""] + names + ["raw"] + names.map { $0 + "/raw" }
  }
}
