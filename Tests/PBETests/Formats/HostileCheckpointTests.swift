import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Checkpoints that were made to harm")
struct HostileCheckpointTests {
  /// Pickles that run a command when Python's pickle module reads them.
  static let malicious: [(pickle: [UInt8], name: String)] = {
    var byGlobal = PickleBuilder()
    byGlobal.global("os", "system")
    byGlobal.raw("(")
    byGlobal.string("echo harm")
    byGlobal.raw("tR")
    var byStack = PickleBuilder()
    byStack.string("posix")
    byStack.string("system")
    byStack.raw([0x93])
    byStack.string("echo harm")
    byStack.raw([0x85, UInt8(ascii: "R")])
    var evaluated = PickleBuilder()
    evaluated.global("builtins", "eval")
    evaluated.string("1")
    evaluated.raw([0x85, UInt8(ascii: "R")])
    // Deep inside an otherwise good state dictionary, as the state of its BUILD.
    var nested = PickleBuilder()
    nested.raw("}(")
    nested.string("w")
    nested.tensor(shape: [2, 3], strides: [3, 1])
    nested.string("x")
    nested.raw("](}")
    nested.string("y")
    nested.global("subprocess", "Popen")
    nested.raw(")")
    nested.raw([0x81])
    nested.raw("seu")
    let instance = Array("(S'echo harm'\nios\nsystem\n.".utf8)
    return [
      (byGlobal.finished, "os.system"), (byStack.finished, "posix.system"),
      (evaluated.finished, "builtins.eval"), (nested.finished, "subprocess.Popen"), (instance, ""),
    ]
  }()

  @Test("calls of anything outside the list are refused by name, in both formats")
  func maliciousPickles() {
    for (pickle, name) in Self.malicious {
      for file in [TestFiles.checkpoint(pickle), Self.oldFormat(pickle)] {
        let error = readingError(file)
        guard !name.isEmpty else { continue }
        #expect(
          error?.what == "the checkpoint asks to call \(name), which is not on the list of known-safe names")
        #expect(error?.remedy?.contains("may be malicious") == true)
      }
    }
  }

  @Test("names can't send escape sequences to the terminal")
  func escapeSequences() {
    var builder = PickleBuilder()
    builder.global("os\u{1b}[2J", "system" + String(repeating: "m", count: 5000))
    let text = readingError(TestFiles.checkpoint(builder.finished))?.description ?? "\u{1b}"
    #expect(!text.unicodeScalars.contains("\u{1b}"))
    #expect(text.count < 400)
  }

  static func oldFormat(_ pickle: [UInt8], keys: [String] = ["0"], storage: [UInt8] = []) -> [UInt8] {
    var file: [UInt8] = [0x80, 2, 0x8a, 10] + TorchCheckpoint.magic + [0x2e]
    file += [0x80, 2, 0x4d, 0xe9, 3, 0x2e, 0x80, 2, 0x7d, 0x2e] + pickle
    var list = PickleBuilder()
    list.raw("](")
    for key in keys { list.string(key) }
    list.raw("e")
    return file + list.finished + storage
  }

  @Test("tensors outside their storage, of impossible shapes, or larger than the file can mean")
  func impossibleTensors() {
    let far = Int.max
    let cases: [[UInt8]] = [
      PickleBuilder.state(shape: [7], strides: [1]),
      PickleBuilder.state(shape: [6], strides: [1], offset: 1),
      PickleBuilder.state(shape: [2], strides: [far]),
      PickleBuilder.state(shape: [3, 3], strides: [far / 2, far / 2]),
      PickleBuilder.state(shape: [2, 2], strides: [3, 3], offset: far),
      PickleBuilder.state(shape: [1], strides: [1], offset: -1),
      PickleBuilder.state(shape: [2], strides: [-1], offset: 1),
      PickleBuilder.state(shape: [-2], strides: [1]),
      PickleBuilder.state(shape: [1 << 60], strides: [0]),
      PickleBuilder.state(shape: [1 << 40], strides: [0]),
      PickleBuilder.state(shape: [far, far, 0], strides: [1, 1, 1]),
      PickleBuilder.state(shape: [2, 3], strides: [1]),
      PickleBuilder.state(shape: [6], strides: [1], count: 5),
      PickleBuilder.state(shape: [1], strides: [1], count: far),
      PickleBuilder.state(shape: [1], strides: [1], count: -1),
      PickleBuilder.state(shape: [1], strides: [1], key: "1"),
      PickleBuilder.state(shape: [1], strides: [1], key: "../data.pkl"),
      PickleBuilder.state(
        shape: [Int](repeating: 1, count: 65), strides: [Int](repeating: 1, count: 65)),
    ]
    for pickle in cases { _ = readingError(TestFiles.checkpoint(pickle)) }
    let good = PickleBuilder.state(shape: [6], strides: [1])
    for count in [5, far, -1] {
      _ = readingError(
        Self.oldFormat(good, storage: TestFiles.little(Int64(count)) + [UInt8](repeating: 0, count: 24)))
    }
    _ = readingError(Self.oldFormat(good, keys: ["1"], storage: TestFiles.little(Int64(6))))
  }

  @Test("lengths, nesting, references and repetitions that would take memory, stack or time")
  func resourceBombs() throws {
    let deep =
      [0x80, 2] + [UInt8](repeating: UInt8(ascii: "]"), count: 1) + [UInt8](repeating: 0x85, count: 300_000)
    // A list that is its own element, and a dictionary that is its own state dictionary.
    let recursiveList = Array("](h".utf8) + [0]
    var selfState = PickleBuilder()
    selfState.raw([0x7d, 0x71, 0])
    selfState.string("state_dict")
    selfState.raw([0x68, 0, UInt8(ascii: "s")])
    // Each list holds the one before twice: 2^2000 leaves when followed.
    var doubling: [UInt8] = [0x80, 2, 0x4e]
    for _ in 0..<2000 { doubling += [0x32, 0x86] }
    // The same long list of pairs given to OrderedDict again and again: quadratic when not counted.
    var quadratic = PickleBuilder()
    quadratic.global("collections", "OrderedDict")
    quadratic.raw([0x71, 0])
    quadratic.raw("](")
    for _ in 0..<20_000 { quadratic.raw([0x4e, 0x4e, 0x86]) }
    quadratic.raw([UInt8(ascii: "e"), 0x85, 0x71, 1])
    for _ in 0..<20_000 { quadratic.raw([0x68, 0, 0x68, 1, UInt8(ascii: "R"), UInt8(ascii: "0")]) }
    let pickles: [[UInt8]] = [
      deep + [0x2e], [0x80, 2, 0x5d, 0x71, 0] + recursiveList + Array("e.".utf8), selfState.finished,
      doubling + [0x2e], quadratic.finished,
      [0x80, 2, 0x8b, 0xff, 0xff, 0xff, 0x7f, 0x2e], [0x80, 2, 0x8b, 0xff, 0xff, 0xff, 0xff, 0x2e],
      [0x80, 2, 0x58, 0xff, 0xff, 0xff, 0xff, 0x2e], [0x80, 4, 0x8d] + [UInt8](repeating: 0xff, count: 8),
      [0x80, 4, 0x8e] + TestFiles.little(Int64.max) + [0x2e],
      [0x80, 4, 0x95] + TestFiles.little(Int64.max) + [0x2e],
      [0x80, 2, 0x54, 0xff, 0xff, 0xff, 0xff, 0x2e], [0x80, 9, 0x2e], [0x80, 2, 0x2e], [], [0x2e],
      Array("0.".utf8), Array("1.".utf8), Array("t.".utf8), Array("(0(1.".utf8),
      Array("I99999999999999999999\n.".utf8),
      Array("F1e\n.".utf8), Array("g-1\n.".utf8), Array("Np-1\n.".utf8), Array("P1\n.".utf8),
      Array("\u{82}".utf8),
      Array("NN}R.".utf8), Array("NNs.".utf8), Array("Na.".utf8), Array("NNa.".utf8), Array("(Nd.".utf8),
      Array("NQ.".utf8),
    ]
    for pickle in pickles { _ = readingError(TestFiles.checkpoint(pickle)) }
  }

  /// Swift puts the marks of a letter in order before it compares: in time with the square of their number.
  @Test("names of endless marks, and storages of endless names")
  func hostileNames() throws {
    let marks = "a" + String(repeating: "\u{301}\u{316}", count: 200_000)
    var key = PickleBuilder()
    key.raw("}")
    key.string(marks)
    key.raw("Ns")
    let long = PickleBuilder.state(shape: [6], strides: [1], key: String(repeating: "k", count: 257))
    var header = Array("{\"\(marks)\":1}".utf8)
    header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)
    for (file, what) in [
      (TestFiles.checkpoint(key.finished), "marks"), (TestFiles.checkpoint(long), "very long name"),
      (TestFiles.little(UInt64(header.count)) + header, "marks"),
      (TestFiles.zip([("a" + String(repeating: "\u{301}\u{316}", count: 8000), [])]), "marks"),
    ] {
      let error = readingError(file)
      #expect(error?.what.contains(what) == true, "\(error?.what ?? "")")
    }
    #expect("e\u{301}\u{316}".isStreamSafe && !marks.isStreamSafe)
  }

  /// Thousands of members in one place would each take their time again.
  @Test("zip members that lie in one another, and names that differ by case alone")
  func overlappingMembers() throws {
    var builder = PickleBuilder()
    builder.raw("}")
    for key in ["0", "1"] {
      builder.string("w\(key)")
      builder.tensor(shape: [500], strides: [1], count: 500, key: key)
      builder.raw("s")
    }
    let data = HostTensor([Float](repeating: 1, count: 500), shape: [500]).bytes
    func archive(_ second: [UInt8]) -> [UInt8] {
      TestFiles.zip([("a/data.pkl", builder.finished), ("a/data/0", data), ("a/data/1", second)])
    }
    #expect(try Checkpoint.read(archive(data), place: "file").state.count == 2)
    // The directory's second storage gets the first one's size and place.
    var file = archive([])
    let entries = file.indices.filter { file[$0...].starts(with: [0x50, 0x4b, 1, 2]) }
    for field in [20..<28, 42..<46] {
      for offset in field { file[entries[2] + offset] = file[entries[1] + offset] }
    }
    #expect(readingError(file)?.what.contains("overlap") == true)

    let pickle = PickleBuilder.state(shape: [6], strides: [1])
    let alike = [("a/data.pkl", pickle), ("a/DATA.pkl", pickle)]
    #expect(readingError(TestFiles.zip(alike))?.what.contains("case of letters") == true)
    let script = alike + [("a/constants.pkl", [])]
    #expect(readingError(TestFiles.zip(script))?.what.contains("TorchScript") == true)
    let twoModels = [("a/data.pkl", pickle), ("b/data.pkl", pickle)]
    #expect(readingError(TestFiles.zip(twoModels))?.what.contains("2 models") == true)
    // PyTorch takes the folder of the first member.
    let other = [("b/version", Array("3".utf8)), ("a/data.pkl", pickle), ("a/data/0", [])]
    #expect(readingError(TestFiles.zip(other))?.what.contains("first member") == true)
  }

  /// What Python finds in a dictionary is here, too, or the file is refused.
  @Test("dictionaries that are made of other things")
  func dictionariesFromOthers() throws {
    func state(_ name: String, _ arguments: (inout PickleBuilder) -> Void, _ opcode: [UInt8]) -> [UInt8] {
      var builder = PickleBuilder()
      builder.raw("}")
      builder.string("state_dict")
      builder.global("collections", name)
      builder.raw("(")
      arguments(&builder)
      builder.raw([UInt8(ascii: "t")] + opcode + [UInt8(ascii: "s")])
      return TestFiles.checkpoint(builder.finished)
    }
    func entries(_ open: String, _ close: String) -> (inout PickleBuilder) -> Void {
      { builder in
        builder.raw(open)
        builder.string("w")
        builder.tensor(shape: [6], strides: [1])
        builder.raw(close)
      }
    }
    let reduce = [UInt8(ascii: "R")]
    let (dictionary, list) = (entries("}", "s"), entries("](", "ta"))
    let tuple = entries("((", "tt")
    func withFactory(_ rest: @escaping (inout PickleBuilder) -> Void) -> (inout PickleBuilder) -> Void {
      { builder in
        builder.global("builtins", "list")
        rest(&builder)
      }
    }
    for file in [
      state("OrderedDict", dictionary, reduce), state("OrderedDict", list, reduce),
      state("OrderedDict", tuple, reduce), state("Counter", dictionary, reduce),
      state("defaultdict", withFactory(dictionary), reduce),
    ] {
      #expect(try Checkpoint.read(file, place: "file").state.names == ["w"])
    }
    for (name, arguments) in [
      ("Counter", list), ("OrderedDict", { $0.string("w") }), ("OrderedDict", withFactory(dictionary)),
    ] as [(String, (inout PickleBuilder) -> Void)] {
      #expect(readingError(state(name, arguments, reduce))?.what.contains("makes a dictionary of") == true)
    }
    // `__new__` alone fills none.
    let unfilled = readingError(state("OrderedDict", list, [0x81]))
    #expect(unfilled?.what.contains("no state dictionary") == true, "\(unfilled?.what ?? "")")
  }

  @Test("zip archives that contradict themselves")
  func hostileArchives() throws {
    let good = TestFiles.checkpoint(PickleBuilder.state(shape: [6], strides: [1]))
    #expect(try Checkpoint.read(good, place: "file").state.count == 1)
    let pickle = PickleBuilder.state(shape: [6], strides: [1])
    let twice = [("a/data.pkl", pickle), ("a/data/0", [1]), ("a/data/0", [2])]
    #expect(readingError(TestFiles.zip(twice))?.what.contains("two members") == true)
    let big = [("a/data.pkl", pickle), ("a/byteorder", Array("big".utf8)), ("a/data/0", [])]
    #expect(readingError(TestFiles.zip(big))?.what.contains("big-endian") == true)
    // Methods, flags and sizes in the directory's entry of data.pkl.
    let entry = try #require(good.indices.first { good[$0...].starts(with: [0x50, 0x4b, 1, 2]) })
    for (offset, value) in [(8, 1), (10, 8), (10, 99), (20, 0xff), (24, 0xff), (45, 0x7f), (16, 1)]
      as [(Int, UInt8)]
    {
      var bad = good
      bad[entry + offset] = value
      _ = readingError(bad)
    }
    // A deflated member that claims far more than its bytes can hold.
    var bomb = try TestFiles.fixture("checkpoint-deflated.pth")
    let directory = try #require(bomb.indices.first { bomb[$0...].starts(with: [0x50, 0x4b, 1, 2]) })
    bomb.replaceSubrange(directory + 24..<directory + 28, with: [0, 0, 0, 0x7f])
    #expect(readingError(bomb)?.what.contains("claims to inflate") == true)
  }
}
