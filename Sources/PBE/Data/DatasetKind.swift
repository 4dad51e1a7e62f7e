import Kernels

/// The data sets that can be read, in the layouts that their own sites ship, and folders of images.
public enum DatasetKind: String, CaseIterable, Sendable {
  /// CIFAR-10, binary version: `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin`.
  case cifar10
  /// The German Traffic Sign Recognition Benchmark: `Final_Training` and `Final_Test`, scaled.
  case gtsrb
  /// MNIST: idx files, plain or gzipped.
  case mnist
  /// Fashion-MNIST: idx files, plain or gzipped.
  case fashionMNIST = "fashion-mnist"
  /// A folder of image files (PNG, JPEG, PPM), a folder per class, scaled.
  case folder

  /// The part of a data set.
  public enum Split: String, CaseIterable, Sendable {
    /// The training images.
    case train
    /// The test images.
    case test
  }

  /// Whether the images may have any size, and are scaled to one.
  var isScaled: Bool { self == .gtsrb || self == .folder }

  /// The folder that ``load(directory:split:options:)`` reads: `directory`, or one in it. Throws `missingInput` when the
  /// set is in none.
  public func folder(in directory: String, split: Split) throws -> String {
    switch self {
    case .cifar10: try CIFAR10Reader.folder(in: directory)
    case .gtsrb: try GTSRBReader.folder(in: directory, split: split)
    case .mnist, .fashionMNIST: try IDXReader.folder(of: self, in: directory, split: split)
    case .folder: directory
    }
  }

  /// Reads one part of the set. `directory` is the folder that holds the set's files, or that folder's parent.
  /// Images come in the order of the files (GTSRB: by class folder, then as its csv lists them; image folders: by class, then by name).
  ///
  /// Throws `missingInput` or `badData`, naming the file, what was expected, what was found and what to do; `usage` for
  /// options that don't suit the set.
  public func load(
    directory: String, split: Split, options: DatasetOptions = DatasetOptions()
  ) throws -> LabeledImages {
    try options.check(for: self)
    let name = "\(rawValue) \(split.rawValue)"
    switch self {
    case .cifar10: return try CIFAR10Reader.load(directory: directory, split: split, name: name)
    case .gtsrb:
      return try GTSRBReader.load(directory: directory, split: split, side: options.side, name: name)
    case .mnist, .fashionMNIST:
      return try IDXReader.load(kind: self, directory: directory, split: split, name: name)
    case .folder:
      return try FolderReader.load(directory: directory, split: split, options: options, name: name)
    }
  }
}
