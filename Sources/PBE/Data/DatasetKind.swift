import Kernels

/// The data sets that can be read, in the layouts that their own sites ship.
public enum DatasetKind: String, CaseIterable, Sendable {
  /// CIFAR-10, binary version: `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin`.
  case cifar10
  /// The German Traffic Sign Recognition Benchmark: `Final_Training` and `Final_Test`, scaled to 32 x 32.
  case gtsrb
  /// MNIST: idx files, plain or gzipped.
  case mnist
  /// Fashion-MNIST: idx files, plain or gzipped.
  case fashionMNIST = "fashion-mnist"

  /// The part of a data set.
  public enum Split: String, CaseIterable, Sendable {
    /// The training images.
    case train
    /// The test images.
    case test
  }

  /// How many classes the set has.
  public var classes: Int { classNames.count }

  /// Channels, height and width of the images that ``load(directory:split:)`` gives.
  public var imageShape: (channels: Int, height: Int, width: Int) {
    switch self {
    case .cifar10, .gtsrb: (3, 32, 32)
    case .mnist, .fashionMNIST: (1, 28, 28)
    }
  }

  /// Reads one part of the set. `directory` is the folder that holds the set's files, or that folder's parent.
  /// Images come in the order of the files (GTSRB: by class folder, then as its csv lists them).
  ///
  /// Throws `missingInput` or `badData`, naming the file, what was expected, what was found and what to do.
  public func load(directory: String, split: Split) throws -> LabeledImages {
    let name = "\(rawValue) \(split.rawValue)"
    switch self {
    case .cifar10: return try CIFAR10Reader.load(directory: directory, split: split, name: name)
    case .gtsrb: return try GTSRBReader.load(directory: directory, split: split, name: name)
    case .mnist, .fashionMNIST:
      return try IDXReader.load(kind: self, directory: directory, split: split, name: name)
    }
  }
}
