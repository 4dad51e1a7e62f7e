import Foundation
import Kernels
import Testing

@testable import PBE

/// Poisoned sets, written and read again.
@Suite struct PoisonedWritingTests {
  private static func images(_ kind: DatasetKind, _ count: Int, classes: Int) throws -> LabeledImages {
    let grey = kind == .mnist
    let (channels, side) = grey ? (1, 28) : (3, 32)
    return try LabeledImages(
      name: "test", channels: channels, height: side, width: side, classes: classes,
      classNames: kind == .folder ? nil : kind.classNames, pixels: pattern(count * channels * side * side),
      labels: (0..<count).map { Int32(($0 * 7) % classes) })
  }

  /// What the defense sees is what the attack made: the same pixels, but for rounding to bytes, and the same labels.
  @Test(arguments: [
    (DatasetKind.cifar10, 10, "badnet"), (.mnist, 10, "badnet"), (.gtsrb, 43, "image"),
    (.folder, 12, "image"),
  ])
  func keepsPixelsAndLabels(kind: DatasetKind, classes: Int, name: String) throws {
    let scratch = try ScratchFolder()
    let source = try Self.images(kind, 60, classes: classes)
    let white = try Picture(width: 4, height: 4, channels: 3, pixels: Array(repeating: 255, count: 48))
    let picture = try scratch.write("white.png", white.png())
    let attack = AttackFile(
      name == "badnet" ? BadNet() : ImageTrigger(image: picture, alpha: 0.25), target: 3, poisonRate: 0.3,
      poisonSeed: 5)
    let poison = try PoisonedSet(source, attack)
    let backend = TestDevices.cpu
    let trigger = try attack.makeTrigger(for: source, on: backend)
    let poisoned = try source.poisoned(by: poison, trigger: trigger, on: backend)
    let order = kind.writtenOrder(poison.labels, split: .train)
    let record = try PoisonRecord(poison, source: source, poisoned: poisoned, dataset: kind)
    let path = scratch.path + "/set"
    try OutputFolder.write(to: path) { folder in
      try kind.write(poisoned, split: .train, to: folder)
      try kind.write(source, split: .test, to: folder)
      let copied = try attack.copyingFiles(to: folder)
      try folder.write(Array(record.encoded(with: copied, in: path).utf8), to: "attack.json")
    }

    let read = try kind.load(directory: path, split: .train)
    #expect(read.labels == order.map { poison.labels[$0] })
    for (position, index) in order.enumerated() {
      for offset in 0..<source.imageSize {
        let clean = Float(source.pixels[index * source.imageSize + offset]) / 255
        let found = Float(read.pixels[position * source.imageSize + offset]) / 255
        guard poison.roles[index] == .poisoned else {
          #expect(found == clean)
          continue
        }
        let (row, column) = (offset / source.width % source.height, offset % source.width)
        let (i, j) = (row - source.height + 3, column - source.width + 3)
        let wanted =
          name == "image" ? 0.75 * clean + 0.25 : i >= 0 && j >= 0 ? BadNet.grid[i][j] : clean
        #expect(abs(found - wanted) <= 0.5 / 255 + 1e-6)
      }
    }
    let test = try kind.load(directory: path, split: .test)
    #expect(test.count == 60)
    #expect(test.labels.sorted() == source.labels.sorted())

    let loaded = try AttackFile.load(path + "/attack.json")
    #expect(loaded.record == record)
    #expect(record.poisoned.indices.count == 18)
    let truth = try record.poisonedSet(read, as: kind, path: "attack.json")
    #expect(truth.roles == order.map { poison.roles[$0] })
    #expect(record.poisoned.true_labels == record.poisoned.source_indices.map { source.labels[$0] })

    // The folder may be moved, and needs nothing outside of it.
    try scratch.remove("white.png")
    try FileManager.default.moveItem(atPath: path, toPath: scratch.path + "/moved")
    let moved = try AttackFile.load(scratch.path + "/moved/attack.json")
    _ = try moved.makeTrigger(for: source, on: backend)
  }

  /// More images than fit into one batch, and roles of every kind: the pixels are those that training sees.
  @Test func manyImages() throws {
    let source = try barImages(700, seed: 3)
    let file = AttackFile(WaNet(), target: 1, poisonRate: 0.3)
    let poison = try PoisonedSet(source, file)
    #expect(poison.roles.count { $0 != .clean } == 630)
    let trigger = try file.makeTrigger(for: source, on: TestDevices.cpu)
    let written = try source.poisoned(by: poison, trigger: trigger, on: TestDevices.cpu)
    let seen = try DeviceImages(
      source, on: TestDevices.cpu, labels: poison.labels, roles: poison.roles, trigger: trigger
    ).pixels()
    #expect(written.labels == poison.labels && written.pixels != source.pixels)
    #expect(written.pixels.count == seen.count)
    for (byte, pixel) in zip(written.pixels, seen) where abs(Float(byte) / 255 - pixel) > 0.5 / 255 + 1e-6 {
      Issue.record("\(byte) / 255 was written for \(pixel)")
      break
    }
  }

  /// Grey images of 28 x 28 in files that can be read as anything.
  @Test func tellsTheOptionsToReadItWith() throws {
    let scratch = try ScratchFolder()
    let source = try Self.images(.mnist, 20, classes: 10)
    let poison = try PoisonedSet(source, AttackFile(BadNet(), target: 1, poisonRate: 0.5))
    let relabelled = try LabeledImages(
      name: "poisoned", channels: 1, height: 28, width: 28, classes: 10, pixels: source.pixels,
      labels: poison.labels)
    var record = try PoisonRecord(poison, source: source, poisoned: relabelled, dataset: .folder)
    #expect(record.options == "--dataset folder --grey --image-size 28")
    let path = scratch.path + "/set"
    try OutputFolder.write(to: path) { try DatasetKind.folder.write(relabelled, split: .train, to: $0) }
    func read(_ options: DatasetOptions = DatasetOptions(imageSize: 28, isGrey: true)) throws -> LabeledImages
    {
      try DatasetKind.folder.load(directory: path, split: .train, options: options)
    }
    let right = try read()
    let truth = try record.poisonedSet(right, as: .folder, path: "a.json")
    #expect(truth.labels == right.labels)
    for options in [
      DatasetOptions(), DatasetOptions(imageSize: 28), DatasetOptions(imageSize: 32, isGrey: true),
    ] {
      let wrong = try read(options)
      expectError(.usage, "1x28x28", "\(wrong.channels)x\(wrong.height)x\(wrong.width)", record.options) {
        _ = try record.poisonedSet(wrong, as: .folder, path: "a.json")
      }
    }
    expectError(.usage, record.options) { _ = try record.poisonedSet(right, as: .mnist, path: "a.json") }
    var pixels = right.pixels
    pixels[0] ^= 1
    let changed = try LabeledImages(
      name: "changed", channels: 1, height: 28, width: 28, classes: 10, pixels: pixels, labels: right.labels)
    expectError(.badData, "a.json", "checksum", right.checksum) {
      _ = try record.poisonedSet(changed, as: .folder, path: "a.json")
    }

    // As older versions wrote it.
    (record.channels, record.image_size, record.data_checksum) = (nil, nil, nil)
    let text = try record.encoded(with: AttackFile(BadNet(), target: 1), in: scratch.path)
    #expect(!text.contains("data_checksum") && !text.contains("channels"))
    let older = try AttackFile.load(scratch.write("older.json", text)).record
    #expect(older?.options == "--dataset folder")
    #expect(try older?.poisonedSet(changed, as: .folder, path: "older.json") == truth)
  }

  @Test func sizesThatNeedNoOption() throws {
    func options(_ kind: DatasetKind) throws -> String {
      let source = try Self.images(kind, 20, classes: kind == .gtsrb ? 43 : 10)
      let poison = PoisonedSet(roles: source.labels.map { _ in .clean }, labels: source.labels)
      return try PoisonRecord(poison, source: source, poisoned: source, dataset: kind).options
    }
    #expect(try options(.mnist) == "--dataset mnist")
    #expect(try options(.cifar10) == "--dataset cifar10")
    #expect(try options(.gtsrb) == "--dataset gtsrb")
    #expect(try options(.folder) == "--dataset folder")
  }

  /// The truth is looked for where the images are.
  @Test(arguments: [(DatasetKind.cifar10, "cifar-10-batches-bin"), (.gtsrb, "GTSRB"), (.mnist, "mnist/raw")])
  func findsTheFolderThatIsRead(kind: DatasetKind, name: String) throws {
    let scratch = try ScratchFolder()
    let source = try Self.images(kind, 43, classes: kind == .gtsrb ? 43 : 10)
    let path = scratch.path + "/" + name
    try OutputFolder.write(to: path) { try kind.write(source, split: .train, to: $0) }
    #expect(try kind.folder(in: path, split: .train) == path)
    #expect(try kind.folder(in: scratch.path, split: .train) == path)
    expectError(.missingInput, "nothing") {
      _ = try kind.folder(in: scratch.path + "/nothing", split: .train)
    }
  }

  /// Classes that nothing is left of keep their numbers.
  @Test(arguments: [DatasetKind.gtsrb, .folder])
  func keepsEmptyClasses(kind: DatasetKind) throws {
    let scratch = try ScratchFolder()
    let source = try Self.images(kind, 30, classes: kind == .gtsrb ? 43 : 15).subset([1, 2, 3])
    let path = scratch.path + "/set"
    try OutputFolder.write(to: path) { try kind.write(source, split: .train, to: $0) }
    // File managers leave such files wherever somebody looks.
    try scratch.write(
      kind == .gtsrb ? "set/Final_Training/Images/00000/.DS_Store" : "set/train/00/.DS_Store", "")
    let read = try kind.load(directory: path, split: .train)
    #expect(read.classes == source.classes)
    #expect(read.labels == source.labels.sorted())
    guard kind == .gtsrb else { return }
    try scratch.write("set/Final_Training/Images/00000/000009.ppm", "")
    expectError(.badData, "GT-00000.csv", "no image") { _ = try kind.load(directory: path, split: .train) }
  }

  @Test func refusesRecordsOfOtherSets() throws {
    let source = try Self.images(.mnist, 20, classes: 10)
    let poison = try PoisonedSet(source, AttackFile(BadNet(), target: 1, poisonRate: 0.5))
    let record = try PoisonRecord(poison, source: source, poisoned: source, dataset: .mnist)
    func expectRefused(_ labels: [Int32], _ change: (inout PoisonRecord) -> Void = { _ in }) {
      var record = record
      change(&record)
      expectError(.badData, "a.json") { _ = try record.poisonedSet(labels: labels, path: "a.json") }
    }
    expectRefused(Array(poison.labels.dropLast()))
    expectRefused(poison.labels.map { $0 == 1 ? 2 : $0 })
    expectRefused(poison.labels) { $0.poisoned.indices[0] = .max }
    expectRefused(poison.labels) { $0.poisoned.indices[0] = -1 }
    expectRefused(poison.labels) { $0.poisoned.indices[0] = $0.poisoned.indices[1] }
    expectRefused(poison.labels) { $0.poisoned.labels = [] }
    expectRefused(poison.labels) { $0.cross = $0.poisoned }
  }

  @Test func wholeFoldersOrNone() throws {
    let scratch = try ScratchFolder()
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try OutputFolder.write(to: scratch.path + "/new/set") { folder in
        try folder.write([1], to: "a")
        throw Stop()
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/new").isEmpty)
    try scratch.write("full/file", "kept")
    expectError(.cannotCreate, "full") { try OutputFolder.write(to: scratch.path + "/full") { _ in } }
    expectError(.cannotCreate, "file") { try OutputFolder.write(to: scratch.path + "/full/file") { _ in } }
    try OutputFolder.write(to: scratch.path + "/new") { try $0.write([7], to: "a") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/new") == ["a"])
  }

  /// A link's folder is filled, and the link stays one.
  @Test func followsLinks() throws {
    let scratch = try ScratchFolder()
    let files = FileManager.default
    let (link, folder) = (scratch.path + "/link", scratch.path + "/elsewhere/empty")
    try files.createSymbolicLink(atPath: link, withDestinationPath: folder)
    expectError(.usage, "has no name") { try OutputFolder.checkIsFree("") }
    // Names of one character are names.
    let here = FileManager.default.currentDirectoryPath
    for name in ["x", "é", "x/", "x//"] {
      let found = RealPath.resolvingFolder(of: name)
      #expect(found.hasSuffix("/" + name.prefix { $0 != "/" }) && found.count > here.count, "\(found)")
    }
    expectError(.cannotCreate, "link", "does not exist") { try OutputFolder.checkIsFree(link) }
    expectError(.cannotCreate, "link", "does not exist") { try OutputFolder.checkIsFree(link + "/") }
    try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try OutputFolder.write(to: link) { try $0.write([7], to: "a") }
    #expect(try files.destinationOfSymbolicLink(atPath: link) == folder)
    #expect(try files.contentsOfDirectory(atPath: folder) == ["a"])
    #expect(try files.contentsOfDirectory(atPath: scratch.path).sorted() == ["elsewhere", "link"])
  }

  /// Behind a link `..` leads out of what the link names, as it does for every other program.
  @Test func leavesLinksAsTheSystemDoes() throws {
    let scratch = try ScratchFolder()
    let files = FileManager.default
    try files.createDirectory(atPath: scratch.path + "/real/x", withIntermediateDirectories: true)
    try files.createSymbolicLink(atPath: scratch.path + "/link", withDestinationPath: "real/x")
    try OutputFolder.write(to: scratch.path + "/link/../new") { try $0.write([7], to: "a") }
    #expect(try files.contentsOfDirectory(atPath: scratch.path + "/real/new") == ["a"])
    #expect(try files.contentsOfDirectory(atPath: scratch.path).sorted() == ["link", "real"])
    // What lies in the folder is named from there, also where the folder is named by a link.
    let inFolder = try AttackFile.load(
      scratch.write("real/b.json", #"{"attack":"image","target":0,"image":"p.png"}"#))
    for name in ["/real", "/real/", "/real/x/..", "/link/.."] {
      #expect(try inFolder.encoded(in: scratch.path + name).contains(#""p.png""#), "\(name)")
    }
    var absolute = inFolder
    absolute.attack = absolute.attack.changingFiles { _, _ in scratch.path + "/link/../p.png" }
    #expect(try absolute.encoded(in: scratch.path + "/link/..").contains(#""p.png""#))
    let attack = try scratch.write("real/a.json", #"{"attack":"blend","target":0,"pattern":"p.png"}"#)
    let file = try AttackFile.load(scratch.path + "/link/../a.json")
    let encoded = try file.encoded()
    #expect(try AttackFile.load(attack).encoded() == encoded && encoded.contains("real/p.png"), "\(encoded)")
  }

  @Test func knowsMountPoints() throws {
    let scratch = try ScratchFolder()
    #expect(!OutputFolder.isMountPoint(URL(fileURLWithPath: scratch.path)))
    #expect(OutputFolder.isMountPoint(URL(fileURLWithPath: "/proc")))
    #expect(OutputFolder.isMountPoint(URL(fileURLWithPath: "/")))
  }
}
