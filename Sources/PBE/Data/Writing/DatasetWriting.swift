import Kernels

extension DatasetKind {
  /// The order in which this data set's reader gives images with these labels back: written position to index. Where a
  /// folder holds each class, the classes come one after the other.
  public func writtenOrder(_ labels: [Int32], split: Split) -> [Int] {
    switch self {
    case .cifar10, .mnist, .fashionMNIST: Array(labels.indices)
    case .gtsrb where split == .test: Array(labels.indices)
    case .gtsrb, .folder: labels.indices.sorted { (labels[$0], $0) < (labels[$1], $1) }
    }
  }

  /// Writes images as one part of this data set, in the layout that ``load(directory:split:options:)`` reads. Returns
  /// each image's file, from the folder; for files of many images, the file alone. `progress` is called now and then.
  ///
  /// Throws `usage` when the images don't suit the layout, and as ``OutputFolder``.
  @discardableResult
  public func write(
    _ images: LabeledImages, split: Split, to folder: OutputFolder,
    progress: (_ share: Double) throws -> Void = { _ in }
  ) throws -> [String] {
    switch self {
    case .cifar10: try CIFAR10Writer.write(images, split: split, to: folder)
    case .mnist, .fashionMNIST: try IDXWriter.write(images, split: split, to: folder)
    case .gtsrb: try GTSRBWriter.write(images, split: split, to: folder, progress: progress)
    case .folder: try FolderWriter.write(images, split: split, to: folder, progress: progress)
    }
  }
}

/// A number with zeros in front.
func padded(_ number: Int, to digits: Int) -> String {
  let text = String(number)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// CIFAR-10's binary version: the training images evenly over five files.
enum CIFAR10Writer {
  static func write(
    _ images: LabeledImages, split: DatasetKind.Split, to folder: OutputFolder
  ) throws -> [String] {
    let names = split == .train ? CIFAR10Reader.trainFiles : [CIFAR10Reader.testFile]
    guard images.imageSize == CIFAR10Reader.recordSize - 1, images.classes == 10, images.count >= names.count,
      images.count <= names.count * CIFAR10Reader.recordsPerFile
    else {
      throw PBEError(
        .usage,
        "\(images.count) images of \(images.channels)x\(images.height)x\(images.width) don't suit CIFAR-10",
        at: images.name, remedy: "CIFAR-10 has 5 to 50000 training images of 3x32x32")
    }
    var files: [String] = []
    for (part, name) in names.enumerated() {
      let range = images.count * part / names.count..<images.count * (part + 1) / names.count
      var bytes: [UInt8] = []
      bytes.reserveCapacity(range.count * CIFAR10Reader.recordSize)
      for index in range {
        bytes.append(UInt8(images.labels[index]))
        bytes += images.pixels[index * images.imageSize..<(index + 1) * images.imageSize]
      }
      try folder.write(bytes, to: name)
      files += Array(repeating: name, count: range.count)
    }
    return files
  }
}

/// MNIST's idx files, plain.
enum IDXWriter {
  static func write(
    _ images: LabeledImages, split: DatasetKind.Split, to folder: OutputFolder
  ) throws -> [String] {
    let prefix = split == .train ? "train" : "t10k"
    func header(_ extents: [Int]) -> [UInt8] {
      ([0x800 + extents.count] + extents).flatMap { number in
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
      }
    }
    let name = "\(prefix)-images-idx3-ubyte"
    try folder.write(to: name) { sink in
      try sink.write(header([images.count, images.height, images.width]))
      try sink.write(images.pixels)
    }
    try folder.write(
      header([images.count]) + images.labels.map { UInt8($0) }, to: "\(prefix)-labels-idx1-ubyte")
    return Array(repeating: name, count: images.count)
  }
}
