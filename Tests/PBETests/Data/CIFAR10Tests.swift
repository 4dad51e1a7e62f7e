import PBE
import Testing

@Suite struct CIFAR10Tests {
  private static let size = 30_730_000

  @Test func readsRecords() throws {
    let scratch = try ScratchFolder()
    // Record 2: label 7, first red pixel 11, last blue pixel 22.
    try scratch.writeSparse(
      "test_batch.bin", size: Self.size,
      patches: [2 * 3073: 7, 2 * 3073 + 1: 11, 3 * 3073 - 1: 22, Self.size - 3073: 9, Self.size - 1: 33])
    let images = try DatasetKind.cifar10.load(directory: scratch.path, split: .test)
    #expect(images.count == 10_000)
    #expect(images.imageSize == 3072)
    #expect(images.classNames?[9] == "truck")
    #expect(images.labels[2] == 7)
    #expect(images.labels[9999] == 9)
    #expect(images.pixels[2 * 3072] == 11)
    #expect(images.pixels[3 * 3072 - 1] == 22)
    #expect(images.pixels.last == 33)
    #expect(images.histogram == [9998, 0, 0, 0, 0, 0, 0, 1, 0, 1])
  }

  @Test func findsTheFilesFromTheParentFolder() throws {
    let scratch = try ScratchFolder()
    try scratch.writeSparse("cifar-10-batches-bin/test_batch.bin", size: Self.size)
    #expect(try DatasetKind.cifar10.load(directory: scratch.path, split: .test).count == 10_000)
  }

  @Test func namesTheMissingBatch() throws {
    let scratch = try ScratchFolder()
    for batch in [1, 2, 4, 5] { try scratch.writeSparse("data_batch_\(batch).bin", size: Self.size) }
    expectError(.missingInput, "data_batch_3.bin", "missing") {
      _ = try DatasetKind.cifar10.load(directory: scratch.path, split: .train)
    }
  }

  @Test func namesTheFileOfWrongSize() throws {
    let scratch = try ScratchFolder()
    for batch in 1...5 { try scratch.writeSparse("data_batch_\(batch).bin", size: Self.size) }
    for wrong in [0, Self.size - 1, Self.size + 1] {
      try scratch.writeSparse("data_batch_5.bin", size: wrong)
      expectError(.badData, "data_batch_5.bin", "\(wrong)", "\(Self.size)") {
        _ = try DatasetKind.cifar10.load(directory: scratch.path, split: .train)
      }
    }
  }

  @Test func namesTheRecordWithAWrongLabel() throws {
    let scratch = try ScratchFolder()
    try scratch.writeSparse("test_batch.bin", size: Self.size, patches: [1234 * 3073: 10])
    expectError(.badData, "test_batch.bin", "record 1234", "label 10") {
      _ = try DatasetKind.cifar10.load(directory: scratch.path, split: .test)
    }
  }

  @Test func refusesFoldersWithoutTheSet() throws {
    let scratch = try ScratchFolder()
    expectError(.missingInput, scratch.path, "cifar-10-binary.tar.gz") {
      _ = try DatasetKind.cifar10.load(directory: scratch.path, split: .train)
    }
    expectError(.missingInput, "no such folder") {
      _ = try DatasetKind.cifar10.load(directory: scratch.path + "/absent", split: .train)
    }
    try scratch.write("test_batch.bin/inner", "a folder in the place of the file")
    expectError(.missingInput, "test_batch.bin", "not a regular file") {
      _ = try DatasetKind.cifar10.load(directory: scratch.path, split: .test)
    }
  }
}
