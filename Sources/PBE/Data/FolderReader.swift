import Foundation
import Kernels

/// A folder of image files, a folder per class: `train/CLASS/*.png` and `test/CLASS/*.png`, or `CLASS/*.png` alone,
/// which is split here. Classes are numbered by the order of their names.
enum FolderReader {
  private static let remedy =
    "name a folder with train/CLASS/... and test/CLASS/..., or with CLASS/..., of PNG, JPEG or PPM files"
  private static let suffixes: Set = ["png", "jpg", "jpeg", "jpe", "jfif", "ppm", "pgm"]
  /// Pictures that other programs would read here.
  private static let unreadable: Set = [
    "webp", "bmp", "tif", "tiff", "gif", "jp2", "jxl", "avif", "heic", "heif", "svg", "psd", "pbm", "pnm",
  ]
  private static let testNames = ["test", "val"]

  static func load(
    directory: String, split: DatasetKind.Split, options: DatasetOptions, name: String
  ) throws -> LabeledImages {
    try InputFile.checkFolder(directory, remedy: remedy)
    let (classes, files) = try files(directory, split, options)
    let entries = files.enumerated().flatMap { label, paths in paths.map { (path: $0, label: Int32(label)) } }
    guard !entries.isEmpty else {
      throw PBEError(.badData, "the \(split.rawValue) set has no images", at: directory, remedy: remedy)
    }
    let isGrey = options.isGrey
    let pixels = try ImageFiles.pixels(
      of: entries.map(\.path), side: options.side, channels: isGrey ? 1 : 3
    ) { isGrey ? try Picture(file: $0).grey() : try Picture(file: $0) }
    let root = directory.utf8.count + (directory.hasSuffix("/") ? 0 : 1)
    return try LabeledImages(
      name: name, channels: isGrey ? 1 : 3, height: options.side, width: options.side, classes: classes.count,
      classNames: classes, pixels: pixels, labels: entries.map(\.label),
      files: entries.map { String(decoding: $0.path.utf8.dropFirst(root), as: UTF8.self) })
  }

  /// The classes, and each one's files.
  private static func files(
    _ root: String, _ split: DatasetKind.Split, _ options: DatasetOptions
  ) throws -> (classes: [String], files: [[String]]) {
    let train = DatasetFolder.join(root, "train")
    // A class may be called train, too: then there are images in it, and no folders.
    guard InputFile.isFolder(train), case let classes = try folders(in: train), !classes.isEmpty else {
      let classes = try folders(in: root)
      try check(classes, in: root)
      let files = try classes.enumerated().map { label, name in
        part(try images(in: DatasetFolder.join(root, name)), of: split, options, label: label)
      }
      return (classes, files)
    }
    try check(classes, in: train)
    if split == .train { return (classes, try classes.map { try images(in: DatasetFolder.join(train, $0)) }) }
    // Training images alone may be of another folder than the one that is split (`erase --clean`).
    guard options.testFraction == nil else {
      throw PBEError(
        .usage, "the folder has a test set of its own, as it has one for training", at: "--test-fraction",
        remedy: "leave it away")
    }
    let candidates = testNames.map { DatasetFolder.join(root, $0) }
    guard let test = candidates.first(where: InputFile.isFolder) else {
      throw PBEError(
        .missingInput, "the folder is missing", at: candidates[0], remedy: "put the test images there")
    }
    let tested = try folders(in: test)
    // By their bytes: names that only look alike are different folders.
    let (known, found) = (Set(classes.map { Array($0.utf8) }), Set(tested.map { Array($0.utf8) }))
    if let unknown = tested.first(where: { !known.contains(Array($0.utf8)) }) {
      throw PBEError(
        .badData, "the training set in \(train) has no such class", at: DatasetFolder.join(test, unknown),
        remedy: "both must have the same folders")
    }
    return (
      classes,
      try classes.map { found.contains(Array($0.utf8)) ? try images(in: DatasetFolder.join(test, $0)) : [] }
    )
  }

  private static func check(_ classes: [String], in folder: String) throws {
    guard classes.count > 1 else {
      throw PBEError(
        classes.isEmpty ? .missingInput : .badData,
        "\(classes.count) folders of classes are here; at least 2 are needed", at: folder, remedy: remedy)
    }
  }

  /// One class's training or test images: always the same ones, and at least one of each where there are two.
  private static func part(
    _ paths: [String], of split: DatasetKind.Split, _ options: DatasetOptions, label: Int
  ) -> [String] {
    let order = Permutation.of(
      paths.count, seed: 0, purpose: RandomPurpose.subset, epoch: UInt32(truncatingIfNeeded: label))
    let wanted = Int((options.testedShare * Double(paths.count)).rounded())
    let tested = paths.count < 2 ? 0 : min(max(wanted, 1), paths.count - 1)
    let chosen = split == .test ? order.prefix(tested) : order.dropFirst(tested)
    return chosen.sorted().map { paths[$0] }
  }

  /// The names of a folder's folders, in order. Throws for what can't be looked at: without it, the classes behind it would
  /// have other numbers.
  private static func folders(in folder: String) throws -> [String] {
    try FolderListing.names(in: folder).filter {
      try InputFile.isFolder(existing: DatasetFolder.join(folder, $0), remedy: "mend or remove it")
    }
  }

  /// The paths of a class's images, in the order of their names. A class may be empty, but not full of something else; and
  /// no picture is left out silently: it might be the poisoned one.
  private static func images(in folder: String) throws -> [String] {
    let names = try FolderListing.names(in: folder)
    func suffix(_ name: String) -> String { (name as NSString).pathExtension.lowercased() }
    let images = names.filter { suffixes.contains(suffix($0)) }
    if !images.isEmpty,
      let other = try names.first(where: {
        try unreadable.contains(suffix($0)) || InputFile.isFolder(DatasetFolder.join(folder, $0))
          || !suffixes.contains(suffix($0)) && Picture.isIn(DatasetFolder.join(folder, $0))
      })
    {
      throw PBEError(
        .badData, "beside images there is \"\(other.printable())\", which can't be read as one", at: folder,
        remedy:
          "convert pictures to PNG, JPEG or PPM, with names that end so, and put those of folders into the class's own"
      )
    }
    if images.isEmpty, let other = names.first {
      throw PBEError(
        .badData, "the folder has no images that can be read, but \"\(other.printable())\"", at: folder,
        remedy: "convert them to PNG, JPEG or PPM")
    }
    return images.map { DatasetFolder.join(folder, $0) }
  }
}
