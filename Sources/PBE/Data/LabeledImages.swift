import Kernels

/// A set of small images of one size with their classes, in host memory.
public struct LabeledImages: Sendable, Equatable {
  /// What the set is, for messages and records: `cifar10 train`.
  public let name: String
  /// 1 for grey images, 3 for RGB.
  public let channels: Int
  /// Rows of an image.
  public let height: Int
  /// Columns of an image.
  public let width: Int
  /// How many classes there are; labels are below it.
  public let classes: Int
  /// The classes' names in the order of their numbers, where known.
  public let classNames: [String]?
  /// The pixels, 0...255: image after image, in an image channel after channel, in a channel row after row (NCHW).
  public let pixels: [UInt8]
  /// The class of each image.
  public let labels: [Int32]
  /// The file of each image in the data set's folder, where each has one of its own.
  public let files: [String]?

  /// How many images there are.
  public var count: Int { labels.count }
  /// Bytes per image: channels x height x width.
  public var imageSize: Int { channels * height * width }

  /// Creates a set; throws `internal` when the numbers of pixels, labels, names and classes do not fit together.
  public init(
    name: String, channels: Int, height: Int, width: Int, classes: Int, classNames: [String]? = nil,
    pixels: [UInt8], labels: [Int32], files: [String]? = nil
  ) throws {
    guard channels > 0, height > 0, width > 0, classes > 0, classNames.map({ $0.count == classes }) ?? true,
      files.map({ $0.count == labels.count }) ?? true,
      let size = Self.product([channels, height, width, labels.count]), pixels.count == size
    else {
      throw PBEError(
        .internal,
        "\(pixels.count) pixel bytes and \(labels.count) labels are no set of \(channels) x \(height) x \(width) "
          + "images in \(classes) classes", at: name)
    }
    if let wrong = labels.firstIndex(where: { $0 < 0 || Int($0) >= classes }) {
      throw PBEError(
        .internal, "image \(wrong) has label \(labels[wrong]), but there are \(classes) classes", at: name)
    }
    self.name = name
    self.channels = channels
    self.height = height
    self.width = width
    self.classes = classes
    self.classNames = classNames
    self.pixels = pixels
    self.labels = labels
    self.files = files
  }

  /// The CRC-32 of the pixels and then the labels (little-endian Int32), as eight hexadecimal digits. Takes time
  /// proportional to the set's size.
  public var checksum: String {
    var sum = Checksum()
    sum.update(pixels)
    sum.update(labels)
    return sum.hex
  }

  /// How many images each class has.
  public var histogram: [Int] {
    var counts = [Int](repeating: 0, count: classes)
    for label in labels { counts[Int(label)] += 1 }
    return counts
  }

  /// The images at `indices`, in that order, repeats allowed; throws `usage` for an index that is out of range.
  public func subset(_ indices: [Int]) throws -> LabeledImages {
    if let wrong = indices.first(where: { $0 < 0 || $0 >= count }) {
      throw PBEError(.usage, "there is no image \(wrong): the set has \(count)", at: name)
    }
    var chosen: [UInt8] = []
    chosen.reserveCapacity(indices.count * imageSize)
    for index in indices { chosen += pixels[index * imageSize..<(index + 1) * imageSize] }
    return try LabeledImages(
      name: name, channels: channels, height: height, width: width, classes: classes, classNames: classNames,
      pixels: chosen, labels: indices.map { labels[$0] }, files: files.map { all in indices.map { all[$0] } })
  }

  /// The indices of `limit` images, ascending: the first ones of a fixed pseudo-random order, so that a part
  /// represents the whole although files are often sorted by class, and a larger part holds every smaller one.
  public func sampleIndices(_ limit: Int, seed: UInt64 = 0) -> [Int] {
    guard limit < count else { return Array(0..<count) }
    let order = Permutation.of(count, seed: seed, purpose: RandomPurpose.subset)
    return order.prefix(max(limit, 0)).sorted()
  }

  /// The images of ``sampleIndices(_:seed:)``: at most `limit` of them, in their order here.
  public func limited(to limit: Int, seed: UInt64 = 0) throws -> LabeledImages {
    limit >= count ? self : try subset(sampleIndices(limit, seed: seed))
  }

  /// One image for writing to a file; throws `usage` when `index` is out of range.
  public func picture(_ index: Int) throws -> Picture {
    guard index >= 0, index < count else {
      throw PBEError(.usage, "there is no image \(index): the set has \(count)", at: name)
    }
    return try Picture(
      width: width, height: height, channels: channels,
      planar: Array(pixels[index * imageSize..<(index + 1) * imageSize]))
  }

  private static func product(_ factors: [Int]) -> Int? {
    var result = 1
    for factor in factors {
      let (value, overflow) = result.multipliedReportingOverflow(by: factor)
      if overflow { return nil }
      result = value
    }
    return result
  }

  /// Throws `badData` when the labels mean other classes than those of `other`: an image folder's are numbered by the folders
  /// that there are. `place` is where the images come from.
  public func check(sameClassesAs other: LabeledImages, at place: String) throws {
    guard classNames != other.classNames || classes != other.classes else { return }
    let (mine, theirs) = (
      (classNames ?? []).joined(separator: ", "), (other.classNames ?? []).joined(separator: ", ")
    )
    throw PBEError(
      .badData, "its classes are \(mine.printable()), but those of the data set are \(theirs.printable())",
      at: place, remedy: "make a folder for each class, an empty one where there are no images")
  }
}
