import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Reading checkpoints")
struct CheckpointTests {
  static let numbers = (0..<10).map { Float($0) / 8 - 0.25 }

  /// What make_fixtures.py puts into every checkpoint.
  static let expected: [(name: String, type: HostTensor.ElementType, shape: [Int], values: [Float])] = [
    ("float32", .float32, [2, 3], Array(numbers[..<6])),
    ("tied", .float32, [2, 3], Array(numbers[..<6])),
    ("float64", .float64, [2], Array(numbers[..<2])),
    ("float16", .float16, [4], Array(numbers[..<4])),
    ("bfloat16", .bfloat16, [4], Array(numbers[..<4])),
    ("int64", .int64, [], [7]),
    ("int32", .int32, [4], [-2, -1, 0, 1]),
    ("int16", .int16, [4], [-2, -1, 0, 1]),
    ("int8", .int8, [4], [-2, -1, 0, 1]),
    ("uint8", .uint8, [4], [0, 1, 2, 3]),
    ("bool", .bool, [2], [1, 0]),
    ("transposed", .float32, [3, 2], [0, 3, 1, 4, 2, 5].map { numbers[$0] }),
    ("sliced", .float32, [3], [2, 4, 6].map { numbers[$0] }),
    ("expanded", .float32, [2, 2], [2.5, 2.5, 2.5, 2.5]),
    ("channels_last", .float32, [1, 2, 2, 2], Array(numbers[..<8])),
    ("empty", .float32, [0, 3], []),
    ("parameter", .float32, [3], Array(numbers[..<3])),
  ]

  @Test(
    "every element type and layout, as PyTorch and safetensors wrote them",
    arguments: [
      ("checkpoint.pth", "PyTorch"), ("checkpoint-protocol4.pth", "PyTorch"),
      ("checkpoint-deflated.pth", "PyTorch"), ("checkpoint-old.pth", "PyTorch before 1.6"),
      ("model.safetensors", "safetensors"),
    ])
  func fixtures(_ file: String, _ format: String) throws {
    let loaded = try Checkpoint.load(TestFiles.fixtureURL(file).path)
    #expect(loaded.format == format)
    #expect(Set(loaded.state.names) == Set(Self.expected.map(\.name)))
    if format != "safetensors" { #expect(loaded.state.names == Self.expected.map(\.name)) }
    for (name, type, shape, values) in Self.expected {
      let tensor = try #require(loaded.state[name])
      #expect(tensor.type == type, "\(name)")
      #expect(tensor.shape == shape, "\(name)")
      #expect(tensor.floats() == values, "\(name)")
    }
    if format == "safetensors" { #expect(loaded.metadata == ["format": "pt", "note": "\"quoted\" é"]) }
  }

  /// As `DataParallel` saves it; the names of a file of pbe-gpu's own are its network's.
  @Test func commonPrefixOfSafetensors() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/m.safetensors"
      var state = StateDictionary()
      state["module.w"] = HostTensor([1], shape: [1])
      try Safetensors.write(state, metadata: [:], to: path)
      #expect(try Checkpoint.load(path).state.names == ["w"])
      try Safetensors.write(state, metadata: ["architecture": "mnist-net"], to: path)
      #expect(try Checkpoint.load(path).state.names == ["module.w"])
    }
  }

  @Test("a network pickled whole is refused by its class", arguments: ["module.pth", "module-old.pth"])
  func wholeModule(_ file: String) throws {
    let error = readingError(try TestFiles.fixture(file))
    #expect(error?.what.contains("class __main__.Tiny") == true)
    #expect(error?.remedy?.contains("model.state_dict()") == true)
  }

  @Test(
    "published infected models: names and shapes by models/README.md",
    .enabled(if: TestFiles.shared("models") != nil, "NOT RUN: the shared models"))
  func publishedModels() throws {
    do {
      let url = try #require(TestFiles.shared("models/wrn16-1-cifar10-badnet.pth.tar"))
      let loaded = try Checkpoint.load(url.path)
      #expect(loaded.format == "PyTorch before 1.6")
      #expect(loaded.state["conv1.weight"]?.shape == [16, 3, 3, 3])
      #expect(loaded.state["block2.layer.0.convShortcut.weight"]?.shape == [32, 16, 1, 1])
      #expect(loaded.state["block3.layer.1.bn2.running_var"]?.shape == [64])
      #expect(loaded.state["bn1.num_batches_tracked"]?.type == .int64)
      #expect(loaded.state["fc.weight"]?.shape == [10, 64])
      #expect(loaded.state["fc.bias"]?.shape == [10])
      try checkWeights(loaded.state)
    }
    for (file, classes) in [("smallvgg-cifar10-badnet.pth", 10), ("smallvgg-gtsrb-trojan-wm.pth", 43)] {
      let url = try #require(TestFiles.shared("models/\(file)"))
      let loaded = try Checkpoint.load(url.path)
      #expect(loaded.format == "PyTorch")
      let convolutions = [0, 3, 8, 11, 16, 19]
      let shapes = convolutions.map { loaded.state["features.\($0).weight"]?.shape }
      let channels = [(32, 3), (32, 32), (64, 32), (64, 64), (128, 64), (128, 128)]
      #expect(shapes == channels.map { [$0.0, $0.1, 3, 3] })
      #expect(loaded.state["features.20.running_mean"]?.shape == [128])
      #expect(loaded.state["classifier.weight"]?.shape == [classes, 2048])
      #expect(loaded.state.count == 6 * 7 + 2)
      try checkWeights(loaded.state)
    }
  }

  /// Weights of a trained network are finite and of moderate size; misread ones hardly ever are.
  private func checkWeights(_ state: StateDictionary) throws {
    for (name, tensor) in state.entries where tensor.type == .float32 {
      let largest = tensor.floats().map(abs).reduce(0) { $1.isFinite ? max($0, $1) : .infinity }
      #expect(largest > 0 && largest < 1e3, "\(name) \(largest)")
    }
  }

  @Test("keys: each known one, the dictionary itself, and what is beside it")
  func stateKeys() throws {
    for key in TorchStateReader.keys {
      var builder = PickleBuilder()
      builder.raw("}(")
      builder.string("epoch")
      builder.integer(3)
      builder.string(key)
      builder.raw("}")
      builder.string("module.w")
      builder.tensor(shape: [2, 3], strides: [3, 1])
      builder.raw("su")
      let loaded = try Checkpoint.read(TestFiles.checkpoint(builder.finished), place: "file")
      #expect(loaded.state.names == ["w"])
      #expect(loaded.state["w"]?.floats() == [1, 2, 3, 4, 5, 6])
    }
    let bare = TestFiles.checkpoint(
      PickleBuilder.state(shape: [2, 2], strides: [1, 2], offset: 1), wide: true)
    #expect(try Checkpoint.read(bare, place: "file").state["w"]?.floats() == [2, 4, 3, 5])
    var other = PickleBuilder()
    other.raw("}")
    other.string("weights")
    other.raw("}s")
    #expect(readingError(TestFiles.checkpoint(other.finished))?.what.contains("its keys are weights") == true)
  }

  @Test("files that are no models say what they are")
  func otherFiles() throws {
    let page = Array("<!DOCTYPE html><title>404</title>".utf8)
    let cases: [([UInt8], String)] = [
      ([0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0, 0, 0], "JPEG"), (Array("\u{89}HDF".utf8), "first bytes are"),
      ([0x89, 0x48, 0x44, 0x46, 0x0d], "HDF5"), (page, "web page"),
      (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
      ([0x80, 4, 0x4e, 0x2e], "not one torch.save wrote"), ([8, 7, 0x12, 7], "ONNX"),
      ([1], "first bytes are 01"),
      (TestFiles.zip([("word/document.xml", [1])]), "not one torch.save wrote"),
      (TestFiles.zip([("a/data.pkl", [1]), ("a/constants.pkl", [1])]), "TorchScript"),
    ]
    for (bytes, text) in cases {
      let error = readingError(bytes)
      #expect(error?.what.contains(text) == true, "\(text): \(error?.what ?? "no error")")
    }
  }

  @Test("paths that can't be read")
  func paths() throws {
    try TestFiles.withDirectory { directory in
      func kind(_ path: String) -> PBEError.Kind? {
        #expect(throws: PBEError.self) { _ = try Checkpoint.load(path) }?.kind
      }
      #expect(kind(directory.path) == .missingInput)
      #expect(kind(directory.path + "/absent.pth") == .missingInput)
      #expect(kind(directory.path + "/absent/model.pth") == .missingInput)
      let empty = directory.path + "/empty.pth"
      try AtomicFile.write("", to: empty)
      #expect(kind(empty) == .badData)
      #expect(kind("/dev/null") == .missingInput)
      let pipe = directory.path + "/pipe.pth"
      #expect(mkfifo(pipe, 0o600) == 0)
      #expect(kind(pipe) == .missingInput)
      // It begins as a model, and has more bytes than memory.
      let huge = directory.path + "/huge.pth"
      try AtomicFile.write(Data([0x50, 0x4b, 3, 4]), to: huge)
      #expect(truncate(huge, off_t(Checkpoint.sizeLimit) + 1) == 0)
      let error = #expect(throws: PBEError.self) { _ = try Checkpoint.load(huge) }
      #expect(error?.kind == .badData && error?.what.contains("at most \(Checkpoint.sizeLimit)") == true)
      #expect(Checkpoint.sizeLimit <= ProcessInfo.processInfo.physicalMemory)
    }
  }
}
