import Foundation
import PBE
import Testing

@Suite struct GTSRBTests {
  private static let header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n"

  /// A PPM of 32 x 32 pixels of one colour, with a comment in its header.
  private static func ppm(_ red: UInt8, _ green: UInt8, _ blue: UInt8, side: Int = 32) -> [UInt8] {
    Array("P6\n# Made by a test\n\(side) \(side)\n255\n".utf8)
      + (0..<side * side).flatMap { _ in [red, green, blue] }
  }

  private static func csvName(_ label: Int) -> String {
    "Final_Training/Images/\(folder(label))/GT-\(folder(label)).csv"
  }

  private static func folder(_ label: Int) -> String { String(format: "%05d", label) }

  /// 43 classes of one image each (two in class 3, the second of 20 x 20 pixels), and three test images.
  private static func tree(under prefix: String = "") throws -> ScratchFolder {
    let scratch = try ScratchFolder()
    for label in 0..<43 {
      let base = "\(prefix)Final_Training/Images/\(folder(label))/"
      try scratch.write(base + "00000_00000.ppm", ppm(UInt8(label), 100, 200))
      var csv = header + "00000_00000.ppm;29;30;5;6;24;25;\(label)\r\n"
      if label == 3 {
        csv += "00000_00001.ppm;20;20;5;6;15;15;3\r\n"
        try scratch.write(base + "00000_00001.ppm", ppm(1, 2, 3, side: 20))
      }
      try scratch.write(base + "GT-\(folder(label)).csv", csv)
    }
    for index in 0..<3 {
      try scratch.write("\(prefix)Final_Test/Images/0000\(index).ppm", ppm(9, 8, UInt8(index)))
    }
    try scratch.write(
      "\(prefix)Final_Test/GT-final_test.csv",
      header + "00002.ppm;53;54;6;5;48;49;16\n00000.ppm;53;54;6;5;48;49;0\n\n")
    return scratch
  }

  private static func train(_ scratch: ScratchFolder) throws -> LabeledImages {
    try DatasetKind.gtsrb.load(directory: scratch.path, split: .train)
  }

  @Test func readsTrainingImagesInOrder() throws {
    let images = try Self.train(try Self.tree())
    #expect(images.count == 44)
    #expect(images.labels == (0...3).map { Int32($0) } + (3..<43).map { Int32($0) })
    // Planar: a plane of red, one of green, one of blue.
    let third = Array(images.pixels[2 * 3072..<3 * 3072])
    #expect(third == [2, 100, 200].flatMap { [UInt8](repeating: $0, count: 1024) })
    // The scaled image keeps its one colour.
    let scaled = Array(images.pixels[4 * 3072..<5 * 3072])
    #expect(scaled == [1, 2, 3].flatMap { [UInt8](repeating: $0, count: 1024) })
  }

  @Test func readsTestImagesAsTheTableListsThem() throws {
    let scratch = try Self.tree(under: "GTSRB/")
    let images = try DatasetKind.gtsrb.load(directory: scratch.path, split: .test)
    #expect(images.labels == [16, 0])
    #expect(images.pixels[2048] == 2)
    #expect(images.pixels[3072 + 2048] == 0)
    #expect(images.classNames?.count == 43)
    #expect(images.classNames?[14] == "stop")
  }

  @Test func namesTheLineOfABadRow() throws {
    let scratch = try Self.tree()
    let name = Self.csvName(7)
    let rows: [(String, String)] = [
      ("00000_00000.ppm;29;30;7", "4 fields; the header has 8"),
      ("00000_00000.ppm;29;30;5;6;24;25;43", "class \"43\""),
      ("00000_00000.ppm;29;30;5;6;24;25;-1", "class \"-1\""),
      ("00000_00000.ppm;29;30;5;6;24;25;", "class \"\""),
      ("00000_00000.ppm;29;30;5;6;24;25;8", "folder of class 7"),
      ("../00008/00000_00000.ppm;29;30;5;6;24;25;7", "no file name"),
      (";29;30;5;6;24;25;7", "no file name"),
    ]
    for (row, message) in rows {
      try scratch.write(name, Self.header + "00000_00000.ppm;29;30;5;6;24;25;7\r\n\(row)\r\n")
      expectError(.badData, "GT-00007.csv:3", message) { _ = try Self.train(scratch) }
    }
  }

  @Test func refusesTablesWithoutClassesOrRows() throws {
    let scratch = try Self.tree()
    try scratch.write(Self.csvName(0), "Filename;Width\n00000_00000.ppm;29\n")
    expectError(.badData, "GT-00000.csv:1", "ClassId") { _ = try Self.train(scratch) }
    for text in ["", Self.header] {
      try scratch.write(Self.csvName(0), text)
      expectError(.badData, "GT-00000.csv") { _ = try Self.train(scratch) }
    }
  }

  @Test func refusesRepeatedAndMissingImages() throws {
    let scratch = try Self.tree()
    let row = "00000_00000.ppm;29;30;5;6;24;25;0\n"
    try scratch.write(Self.csvName(0), Self.header + row + row)
    expectError(.badData, "GT-00000.csv:3", "listed twice") { _ = try Self.train(scratch) }
    let twice = "Filename;ClassId;ClassId\n00000_00000.ppm;0;1\n"
    try scratch.write("Final_Training/Images/00000/GT-00000.csv", twice)
    expectError(.badData, "GT-00000.csv:1", "a column twice") { _ = try Self.train(scratch) }
    // As spreadsheets save it.
    try scratch.write(
      "Final_Training/Images/00000/GT-00000.csv", "\u{FEFF}Filename;ClassId;;\n00000_00000.ppm;0;;\n")
    _ = try Self.train(scratch)
    for label in 0..<43 {
      for name in ["00000_00000.ppm", "00000_00001.ppm"] {
        try? scratch.remove("Final_Training/Images/\(String(format: "%05d", label))/\(name)")
      }
      try scratch.write(Self.csvName(label), Self.header)
    }
    expectError(.badData, "no images") { _ = try Self.train(scratch) }
    let marks = String(repeating: "\u{301}\u{316}", count: 200_000)
    try scratch.write(Self.csvName(0), "a\(marks);" + Self.header)
    expectError(.badData, "GT-00000.csv:1", "marks") { _ = try Self.train(scratch) }
  }

  @Test func namesMissingPieces() throws {
    let scratch = try Self.tree()
    try scratch.remove("Final_Test/GT-final_test.csv")
    expectError(.missingInput, "GT-final_test.csv", "GTSRB_Final_Test_GT.zip") {
      _ = try DatasetKind.gtsrb.load(directory: scratch.path, split: .test)
    }
    try scratch.remove("Final_Training/Images/00040/00000_00000.ppm")
    expectError(.missingInput, "00040/00000_00000.ppm", "missing") { _ = try Self.train(scratch) }
    try scratch.remove("Final_Training/Images/00039")
    expectError(.missingInput, "Images/00039", "class 39") { _ = try Self.train(scratch) }
  }

  @Test func namesDamagedImages() throws {
    let scratch = try Self.tree()
    let name = "Final_Training/Images/00011/00000_00000.ppm"
    try scratch.write(name, Array(Self.ppm(1, 2, 3).dropLast()))
    expectError(.badData, "00011/00000_00000.ppm", "cut off", "3071", "3072") { _ = try Self.train(scratch) }
    try scratch.write(name, "P5\n1 1\n255\n0")
    expectError(.badData, "00011/00000_00000.ppm", "grey") { _ = try Self.train(scratch) }
  }
}
