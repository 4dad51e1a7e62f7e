import Foundation
import PBE
import Testing

@Suite struct FolderTests {
  private static func png(_ value: UInt8, side: Int = 5) throws -> [UInt8] {
    try Picture(
      width: side, height: side, channels: 3, pixels: Array(repeating: value, count: side * side * 3)
    ).png()
  }

  private static func load(
    _ scratch: ScratchFolder, _ split: DatasetKind.Split = .train,
    _ options: DatasetOptions = DatasetOptions()
  ) throws -> LabeledImages {
    try DatasetKind.folder.load(directory: scratch.path, split: split, options: options)
  }

  /// The value of each image, which has one colour.
  private static func values(_ images: LabeledImages) -> [UInt8] {
    (0..<images.count).map { images.pixels[$0 * images.imageSize] }
  }

  private static func tree() throws -> ScratchFolder {
    let scratch = try ScratchFolder()
    try scratch.write("train/b c/2.PNG", png(2))
    try scratch.write("train/b c/10.png", png(1, side: 50))
    try scratch.write("train/B/x.ppm", "P6\n1 1\n255\n\u{5}\u{5}\u{5}")
    try scratch.write("train/B/.hidden.png", "")
    try scratch.write("train/B/notes.txt", "not an image")
    try scratch.write("train/é/1.png", png(7))
    try scratch.write("train/README", "no class")
    try scratch.write("test/é/1.png", png(8))
    try scratch.write("test/B/1.png", png(9))
    return scratch
  }

  @Test func classesAndFilesByName() throws {
    let scratch = try Self.tree()
    let train = try Self.load(scratch)
    #expect(train.classNames == ["B", "b c", "é"])
    #expect(train.labels == [0, 1, 1, 2])
    #expect(Self.values(train) == [5, 1, 2, 7])
    #expect(train.files == ["train/B/x.ppm", "train/b c/10.png", "train/b c/2.PNG", "train/é/1.png"])
    #expect(try train.subset([3, 0]).files == ["train/é/1.png", "train/B/x.ppm"])
    #expect((train.channels, train.height, train.width) == (3, 32, 32))
    let test = try Self.load(scratch, .test)
    #expect(test.classNames == train.classNames)
    #expect(test.labels == [0, 2])
    #expect(Self.values(test) == [9, 8])
  }

  @Test func sizeAndColours() throws {
    let images = try Self.load(Self.tree(), .train, DatasetOptions(imageSize: 28, isGrey: true))
    #expect((images.channels, images.height, images.width) == (1, 28, 28))
    #expect(Self.values(images) == [5, 1, 2, 7])
    for side in [0, -1, 513, .max] {
      expectError(.usage, "--image-size") {
        _ = try Self.load(Self.tree(), .train, DatasetOptions(imageSize: side))
      }
    }
    expectError(.usage, "--image-size") {
      _ = try DatasetKind.mnist.load(directory: "/", split: .test, options: DatasetOptions(imageSize: 28))
    }
  }

  @Test func splitsOneFolder() throws {
    let scratch = try ScratchFolder()
    for index in 0..<20 { try scratch.write("a/\(index).png", Self.png(UInt8(index))) }
    for index in 0..<10 { try scratch.write("train/\(index).png", Self.png(UInt8(100 + index))) }
    try scratch.write("z/1.png", Self.png(200))
    let (train, test) = (try Self.load(scratch), try Self.load(scratch, .test))
    #expect(train.classNames == ["a", "train", "z"])
    #expect(test.histogram == [4, 2, 0])
    #expect(train.histogram == [16, 8, 1])
    #expect(Set(Self.values(train) + Self.values(test)).count == 31, "no image is in both")
    #expect(try Self.load(scratch, .test) == test, "the split is fixed")
    #expect(try Self.load(scratch, .test, DatasetOptions(testFraction: 0.99)).histogram == [19, 9, 0])
    #expect(try Self.load(scratch, .test, DatasetOptions(testFraction: 0.001)).histogram == [1, 1, 0])
    expectError(.usage, "--test-fraction") {
      _ = try Self.load(scratch, .test, DatasetOptions(testFraction: .nan))
    }
  }

  @Test func namesWhatIsWrong() throws {
    let scratch = try Self.tree()
    expectError(.usage, "--test-fraction") {
      _ = try Self.load(scratch, .test, DatasetOptions(testFraction: 0.5))
    }
    for (bytes, message) in [
      ([UInt8](), "empty"), (Array(try Self.png(1).dropLast(20)), "cut off"), ([1], "neither"),
    ] {
      try scratch.write("train/b c/10.png", bytes)
      expectError(.badData, "train/b c/10.png", message) { _ = try Self.load(scratch) }
    }
    try scratch.write("test/other/1.png", Self.png(1))
    expectError(.badData, "test/other", "no such class") { _ = try Self.load(scratch, .test) }
    try scratch.remove("test")
    expectError(.missingInput, "test") { _ = try Self.load(scratch, .test) }
    try scratch.write("train/new/1.webp", "")
    expectError(.badData, "train/new", "1.webp") { _ = try Self.load(scratch) }
    // Also beside others: it might be the poisoned one.
    try scratch.write("train/b c/10.png", Self.png(1))
    try scratch.write("train/new/2.png", Self.png(1))
    expectError(.badData, "train/new", "1.webp") { _ = try Self.load(scratch) }
    try scratch.remove("train/new/1.webp")
    try scratch.write("train/new/notes.txt", "")
    _ = try Self.load(scratch)
    for (name, bytes) in [("3.apng", try Self.png(1)), ("noext", [0xFF, 0xD8, 0xFF, 0xE0])] {
      try scratch.write("train/new/\(name)", bytes)
      expectError(.badData, "train/new", name) { _ = try Self.load(scratch) }
      try scratch.remove("train/new/\(name)")
    }
    try scratch.write("train/new/4.jfif", Self.png(3))
    #expect(Self.values(try Self.load(scratch)).contains(3))
    try scratch.write("train/new/more/3.png", Self.png(1))
    expectError(.badData, "train/new", "more") { _ = try Self.load(scratch) }
    try scratch.remove("train/new")
    try scratch.write("train/new/1.webp", "")
    expectError(.missingInput, "no such folder") {
      _ = try DatasetKind.folder.load(directory: scratch.path + "/nowhere", split: .train)
    }
    // Foundation would change the name, and the class would not be found.
    let latin1 = Array("\(scratch.path)/train/caf".utf8).map(CChar.init) + [CChar(bitPattern: 0xe9), 0]
    #expect(mkdir(latin1, 0o755) == 0)
    expectError(.badData, "train", "not UTF-8") { _ = try Self.load(scratch) }
    let empty = try ScratchFolder()
    expectError(.missingInput, empty.path) { _ = try Self.load(empty) }
  }

  /// What can't be looked at might be a class or a picture: without it others would have its number, or its label be clean.
  @Test func nothingIsLeftOutSilently() throws {
    let files = FileManager.default
    let scratch = try Self.tree()
    for target in ["/nowhere", "aa"] {
      try files.createSymbolicLink(atPath: "\(scratch.path)/train/aa", withDestinationPath: target)
      expectError(.missingInput, "train/aa") { _ = try Self.load(scratch) }
      try scratch.remove("train/aa")
    }
    // A pipe that nobody writes to would be waited for.
    #expect(mkfifo("\(scratch.path)/train/B/pipe", 0o644) == 0)
    expectError(.missingInput, "train/B/pipe", "regular") { _ = try Self.load(scratch) }
    try scratch.remove("train/B/pipe")
    try scratch.write("train/B/noext", "P6\n1 1\n255\nabc")
    expectError(.badData, "train/B", "noext") { _ = try Self.load(scratch) }
    try scratch.remove("train/B/noext")
    try scratch.write("train/B/labels.csv", "P6,1,2")
    _ = try Self.load(scratch)
    // The same to the eye, and other bytes.
    try scratch.remove("test/é")
    try scratch.write("test/e\u{301}/1.png", Self.png(8))
    expectError(.badData, "test/e\u{301}", "no such class") { _ = try Self.load(scratch, .test) }
  }

  /// Of many damaged files among thousands the first is named, whichever thread met its first.
  @Test func namesTheFirstOfManyDamagedFiles() throws {
    let scratch = try ScratchFolder()
    let good = try Self.png(1)
    for index in 0..<3000 {
      try scratch.write(
        "train/\(index % 2)/\(10000 + index).png", [1501, 2200, 2999].contains(index) ? [] : good)
    }
    expectError(.badData, "train/0/12200.png", "empty") { _ = try Self.load(scratch) }
  }
}
