import Kernels

/// GTSRB's folders of PPM files with csv files. The columns of the original images' size and of the sign's place in
/// them describe the written images.
enum GTSRBWriter {
  private static let header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n"

  static func write(
    _ images: LabeledImages, split: DatasetKind.Split, to folder: OutputFolder,
    progress: (_ share: Double) throws -> Void
  ) throws -> [String] {
    let root = split == .train ? "Final_Training/Images" : "Final_Test/Images"
    try folder.makeFolder(root)
    func folderName(_ label: Int) -> String { padded(label, to: 5) }
    if split == .train {
      for label in 0..<GTSRBReader.classes { try folder.makeFolder("\(root)/\(folderName(label))") }
    }
    var tables = [String](repeating: header, count: GTSRBReader.classes)
    var testTable = header
    var files: [String] = []
    for index in 0..<images.count {
      let label = Int(images.labels[index])
      let name = padded(index, to: 6) + ".ppm"
      let (width, height) = (images.width, images.height)
      let row = "\(name);\(width);\(height);0;0;\(width - 1);\(height - 1);\(label)\r\n"
      if split == .train { tables[label] += row } else { testTable += row }
      let file = split == .train ? "\(root)/\(folderName(label))/\(name)" : "\(root)/\(name)"
      try folder.write(images.picture(index).ppm(), to: file)
      files.append(file)
      if index % 256 == 0 { try progress(Double(index) / Double(images.count)) }
    }
    if split == .test {
      try folder.write(Array(testTable.utf8), to: "Final_Test/GT-final_test.csv")
    } else {
      for (label, table) in tables.enumerated() {
        let name = folderName(label)
        try folder.write(Array(table.utf8), to: "\(root)/\(name)/GT-\(name).csv")
      }
    }
    return files
  }
}
