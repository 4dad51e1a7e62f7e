import PBE
import Testing

@Suite struct IDXTests {
  private static func images(_ count: Int, magic: UInt32 = 0x803, rows: UInt32 = 28) -> [UInt8] {
    bigEndian(magic) + bigEndian(UInt32(count)) + bigEndian(rows) + bigEndian(28) + pattern(count * 784)
  }

  private static func labels(_ values: [UInt8]) -> [UInt8] {
    bigEndian(0x801) + bigEndian(UInt32(values.count)) + values
  }

  /// A gzip file of stored (not compressed) blocks.
  private static func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var file: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]
    var start = 0
    while start < bytes.count {
      let block = bytes[start..<min(start + 1000, bytes.count)]
      start += block.count
      let length = UInt16(block.count)
      file.append(start == bytes.count ? 1 : 0)
      for half in [length, ~length] { file += [UInt8(half & 255), UInt8(half >> 8)] }
      file += block
    }
    var sum = Checksum()
    sum.update(bytes)
    return file + littleEndian(sum.value) + littleEndian(UInt32(bytes.count))
  }

  private static func load(_ scratch: ScratchFolder, _ kind: DatasetKind = .mnist) throws -> LabeledImages {
    try kind.load(directory: scratch.path, split: .train)
  }

  @Test(
    arguments: [
      ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
      ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
      ("fashion-mnist/train-images-idx3-ubyte", "fashion-mnist/train-labels-idx1-ubyte"),
      ("FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/train-labels-idx1-ubyte"),
    ], [false, true])
  func readsPlainAndGzipped(names: (String, String), compressed: Bool) throws {
    let scratch = try ScratchFolder()
    let pack = compressed ? Self.gzip : { $0 }
    let suffix = compressed ? ".gz" : ""
    try scratch.write(names.0 + suffix, pack(Self.images(5)))
    try scratch.write(names.1 + suffix, pack(Self.labels([9, 0, 3, 3, 1])))
    let set = try Self.load(scratch, .fashionMNIST)
    #expect(set.count == 5)
    #expect((set.channels, set.height, set.width) == (1, 28, 28))
    #expect(set.pixels == pattern(5 * 784))
    #expect(set.labels == [9, 0, 3, 3, 1])
    #expect(set.name == "fashion-mnist train")
  }

  @Test func refusesDamagedImageFiles() throws {
    let scratch = try ScratchFolder()
    try scratch.write("train-labels-idx1-ubyte", Self.labels([1, 2]))
    let good = Self.images(2)
    let cases: [([UInt8], [String])] = [
      (Self.images(2, magic: 0x801), ["2049", "2051"]),
      (Self.images(2, rows: 27), ["27 x 28", "28 x 28"]),
      (Array(good.dropLast()), ["cut off", "1583", "1584"]),
      (good + [0], ["more than the 1584"]),
      (Array(good.prefix(15)), ["15 bytes", "16"]),
      ([], ["0 bytes"]),
      (bigEndian(0x803) + bigEndian(.max) + bigEndian(.max) + bigEndian(.max), ["make no sense"]),
      (bigEndian(0x803) + bigEndian(9_000_000) + bigEndian(28) + bigEndian(28), ["make no sense"]),
      (bigEndian(0x803) + bigEndian(1_000_000) + bigEndian(28) + bigEndian(28), ["cut off"]),
      (bigEndian(0x803) + bigEndian(0) + bigEndian(28) + bigEndian(28), ["make no sense"]),
      (
        bigEndian(0x803) + bigEndian(2) + bigEndian(14) + bigEndian(56) + pattern(1568),
        ["14 x 56", "28 x 28"]
      ),
    ]
    for (bytes, messages) in cases {
      try scratch.write("train-images-idx3-ubyte", bytes)
      for message in messages {
        expectError(.badData, "train-images-idx3-ubyte", message) { _ = try Self.load(scratch) }
      }
    }
  }

  @Test func refusesDamagedLabelFiles() throws {
    let scratch = try ScratchFolder()
    try scratch.write("train-images-idx3-ubyte", Self.images(2))
    expectError(.missingInput, "train-labels-idx1-ubyte", "missing") { _ = try Self.load(scratch) }
    try scratch.write("train-labels-idx1-ubyte", Self.labels([1, 10]))
    expectError(.badData, "train-labels-idx1-ubyte", "record 1", "label 10") { _ = try Self.load(scratch) }
    try scratch.write("train-labels-idx1-ubyte", Self.labels([1]))
    expectError(.badData, "train-labels-idx1-ubyte", "1 labels for 2 images") { _ = try Self.load(scratch) }
  }

  @Test func refusesDamagedGzipFiles() throws {
    let scratch = try ScratchFolder()
    try scratch.write("train-labels-idx1-ubyte", Self.labels([1, 2]))
    let good = Self.gzip(Self.images(2))
    for length in [good.count - 1, good.count - 8, good.count - 9, 1200, 30, 12] {
      try scratch.write("train-images-idx3-ubyte.gz", Array(good.prefix(length)))
      expectError(.badData, "train-images-idx3-ubyte.gz") { _ = try Self.load(scratch) }
    }
    var wrong = good
    wrong[700] ^= 1
    try scratch.write("train-images-idx3-ubyte.gz", wrong)
    expectError(.badData, "train-images-idx3-ubyte.gz", "damaged") { _ = try Self.load(scratch) }
  }

  @Test func refusesFoldersWithoutTheSet() throws {
    let scratch = try ScratchFolder()
    expectError(.missingInput, "t10k-images-idx3-ubyte") {
      _ = try DatasetKind.mnist.load(directory: scratch.path, split: .test)
    }
  }
}
