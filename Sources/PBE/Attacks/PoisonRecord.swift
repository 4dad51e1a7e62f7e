import Foundation
import Kernels

/// What `poison` wrote into a poisoned data set's `attack.json`, beside the attack: the ground truth.
public struct PoisonRecord: Sendable, Codable, Equatable {
  /// Images that the attack changed.
  public struct Entries: Sendable, Codable, Equatable {
    /// Their positions in the written training set, as its reader gives them; ascending.
    public var indices: [Int]
    /// Their positions in the training set that was poisoned.
    public var source_indices: [Int]
    /// Their labels in the written set.
    public var labels: [Int32]
    /// Their labels in the training set that was poisoned.
    public var true_labels: [Int32]
  }

  /// The name of the data set's form, as `--dataset` takes it.
  public var dataset: String
  /// The number of training images.
  public var images: Int
  /// Their channels; `nil` in records of older versions, as the two that follow.
  public var channels: Int?
  /// Their rows and columns.
  public var image_size: Int?
  /// The CRC-32 of the written training set, as its reader gives it (``LabeledImages/checksum``).
  public var data_checksum: String?
  /// The CRC-32 of the training set that was poisoned (``LabeledImages/checksum``).
  public var source_checksum: String
  /// The images with the trigger.
  public var poisoned: Entries
  /// The cross images.
  public var cross: Entries

  /// A whole ImageNet's, poisoned to the last image, is smaller.
  static let largestFile = 64 << 20
  private static let key = "poisoned_set"
  private static let remedy =
    "poison the data again, or delete the file: then nothing is known about the poison"

  /// The record of `poison` having been done to `source`, which gave `poisoned`, to be written as `dataset`.
  public init(
    _ poison: PoisonedSet, source: LabeledImages, poisoned written: LabeledImages, dataset: DatasetKind
  ) throws {
    let order = dataset.writtenOrder(poison.labels, split: .train)
    func entries(_ role: ImageRole) -> Entries {
      let indices = order.indices.filter { poison.roles[order[$0]] == role }
      let sources = indices.map { order[$0] }
      return Entries(
        indices: indices, source_indices: sources, labels: sources.map { poison.labels[$0] },
        true_labels: sources.map { source.labels[$0] })
    }
    self.dataset = dataset.rawValue
    images = source.count
    channels = written.channels
    image_size = written.height
    data_checksum = try written.subset(order).checksum
    source_checksum = source.checksum
    poisoned = entries(.poisoned)
    cross = entries(.cross)
  }

  /// The options that read the set as it was written.
  public var options: String {
    var options = "--dataset \(dataset)"
    let kind = DatasetKind(rawValue: dataset)
    if kind == .folder, channels == 1 { options += " --grey" }
    if kind?.isScaled == true, let image_size, image_size != DatasetOptions().side {
      options += " --image-size \(image_size)"
    }
    return options
  }

  /// Whether the attack file at `path` holds a record. So does one that is damaged: the truth in it may be mended.
  public static func isIn(_ path: String) -> Bool {
    let bytes = try? InputFile.read(path, limit: largestFile, remedy: "")
    return bytes.map { String(decoding: $0, as: UTF8.self).contains("\"\(key)\"") } ?? false
  }

  /// The attack file with this record in it, to be put into `folder`. One line: a pretty one would be as long as the
  /// lists.
  public func encoded(with attack: AttackFile, in folder: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let record = String(decoding: try encoder.encode(self), as: UTF8.self)
    let text = try attack.encoded(in: folder)
    guard let end = text.lastIndex(of: "}"), let last = text[..<end].lastIndex(where: { !$0.isWhitespace })
    else {
      throw PBEError(.internal, "the attack's JSON is no object")
    }
    return text[...last] + ",\n  \"\(Self.key)\" : \(record)\n}\n"
  }

  /// What each image of the written training set is, which was read as `dataset`. Throws `usage` when that or its
  /// options are not those that it was written for, and `badData`, naming the file at `path`, when the record is not one
  /// of that set.
  public func poisonedSet(_ read: LabeledImages, as dataset: DatasetKind, path: String) throws -> PoisonedSet
  {
    guard self.dataset == dataset.rawValue, channels ?? read.channels == read.channels,
      image_size ?? read.height == read.height
    else {
      let shape = channels.flatMap { channels in image_size.map { ", \(channels)x\($0)x\($0)" } } ?? ""
      throw PBEError(
        .usage,
        "the set beside it was written as \(self.dataset.printable())\(shape), and read as "
          + "\(dataset.rawValue), \(read.channels)x\(read.height)x\(read.width)", at: path,
        remedy: "of --dataset, --grey and --image-size give just these: \(options)")
    }
    let set = try poisonedSet(labels: read.labels, path: path)
    if let data_checksum, case let checksum = read.checksum, checksum != data_checksum {
      throw PBEError(
        .badData,
        "the images beside it are not as they were written: their checksum is \(checksum), not "
          + data_checksum.printable(), at: path, remedy: Self.remedy)
    }
    return set
  }

  /// The same for a set with these labels, whatever its pixels are.
  func poisonedSet(labels: [Int32], path: String) throws -> PoisonedSet {
    var roles = [ImageRole](repeating: .clean, count: labels.count)
    func mark(_ entries: Entries, _ role: ImageRole) -> Bool {
      guard entries.indices.count == entries.labels.count else { return false }
      for (index, label) in zip(entries.indices, entries.labels) {
        guard roles.indices.contains(index), roles[index] == .clean, labels[index] == label else {
          return false
        }
        roles[index] = role
      }
      return true
    }
    guard images == labels.count, mark(poisoned, .poisoned), mark(cross, .cross) else {
      throw PBEError(
        .badData,
        "the poisoned set that it describes (\(images) images) is not the training set beside it "
          + "(\(labels.count) images)", at: path,
        remedy: Self.remedy)
    }
    return PoisonedSet(roles: roles, labels: labels)
  }
}
