import Kernels

/// A folder of PNG files, a folder per class.
enum FolderWriter {
  static func write(
    _ images: LabeledImages, split: DatasetKind.Split, to folder: OutputFolder,
    progress: (_ share: Double) throws -> Void
  ) throws -> [String] {
    let classes = classFolders(images).map { "\(split.rawValue)/\($0)" }
    for name in classes { try folder.makeFolder(name) }
    let digits = max(6, String(images.count).count)
    return try (0..<images.count).map { index in
      let file = "\(classes[Int(images.labels[index])])/\(padded(index, to: digits)).png"
      try folder.write(images.picture(index).png(), to: file)
      if index % 256 == 0 { try progress(Double(index) / Double(images.count)) }
      return file
    }
  }

  /// The classes' folders, whose order must be that of their numbers: their names where these are so, else numbers with
  /// the names behind.
  static func classFolders(_ images: LabeledImages) -> [String] {
    let names = images.classNames ?? (0..<images.classes).map { _ in "" }
    let isOrdered = zip(names, names.dropFirst()).allSatisfy { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    if isOrdered, names.allSatisfy(isFolderName) { return names }
    let digits = String(images.classes - 1).count
    return names.enumerated().map { number, name in
      let label = name.map { $0.isLetter || $0.isNumber ? $0 : "-" }
      return padded(number, to: digits) + (name.isEmpty ? "" : "-" + String(label))
    }
  }

  private static func isFolderName(_ name: String) -> Bool {
    !name.isEmpty && !name.hasPrefix(".") && !name.contains("/") && !name.contains("\0")
  }
}
