import Kernels

/// CIFAR-10's binary version: per file 10,000 records of a label byte and 3 x 32 x 32 pixel bytes, planar. Parts of the
/// set, as `poison --limit` writes them, have fewer records.
enum CIFAR10Reader {
  static let recordSize = 1 + 3 * 32 * 32
  static let recordsPerFile = 10_000
  static let fileSize = recordSize * recordsPerFile
  static let trainFiles = (1...5).map { "data_batch_\($0).bin" }
  static let testFile = "test_batch.bin"
  private static let remedy =
    "name the folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, as the binary version of "
    + "CIFAR-10 (cifar-10-binary.tar.gz) unpacks them"

  static func folder(in directory: String) throws -> String {
    try DatasetFolder.find(
      "the binary version of CIFAR-10", in: directory, subfolders: ["", "cifar-10-batches-bin", "cifar10"],
      markers: trainFiles + [testFile], remedy: remedy)
  }

  static func load(directory: String, split: DatasetKind.Split, name: String) throws -> LabeledImages {
    let folder = try folder(in: directory)
    let paths = (split == .train ? trainFiles : [testFile]).map { DatasetFolder.join(folder, $0) }
    // All sizes first: a wrong last file should not cost the reading of the others.
    for path in paths {
      let size = try InputFile.size(path, remedy: remedy)
      guard size > 0, size <= fileSize, size % recordSize == 0 else {
        throw PBEError(
          .badData,
          "the file has \(size) bytes; \(fileSize) were expected, or another multiple of \(recordSize) below",
          at: path,
          remedy: "unpack or download it again")
      }
    }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(paths.count * recordsPerFile * (recordSize - 1))
    var labels: [Int32] = []
    for path in paths { try append(path, pixels: &pixels, labels: &labels) }
    return try LabeledImages(
      name: name, channels: 3, height: 32, width: 32, classes: 10, classNames: DatasetKind.cifar10.classNames,
      pixels: pixels, labels: labels)
  }

  private static func append(_ path: String, pixels: inout [UInt8], labels: inout [Int32]) throws {
    let bytes = try InputFile.read(path, limit: fileSize, remedy: remedy)
    guard bytes.count % recordSize == 0 else {
      throw PBEError(.badData, "the file got shorter while it was read", at: path)
    }
    for record in 0..<bytes.count / recordSize {
      let start = record * recordSize
      guard bytes[start] < 10 else {
        throw PBEError(
          .badData, "record \(record) has label \(bytes[start]); labels are 0 to 9", at: path,
          remedy: "unpack or download the file again")
      }
      labels.append(Int32(bytes[start]))
      pixels += bytes[start + 1..<start + recordSize]
    }
  }
}
