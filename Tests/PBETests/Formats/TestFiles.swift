import Foundation
import Kernels
import Testing

@testable import PBE

/// Small files for the tests: fixtures, and builders of valid and hostile ones.
enum TestFiles {
  static func fixture(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: fixtureURL(name))) }

  static func fixtureURL(_ name: String) throws -> URL {
    let folder = try #require(Bundle.module.url(forResource: "Fixtures", withExtension: nil))
    return folder.appendingPathComponent(name)
  }

  /// The folder of published models and data beside the package, or nil (which is printed).
  static func shared(_ path: String) -> URL? {
    let besidePackage = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../../../shared")
    let folder =
      ProcessInfo.processInfo.environment["PBE_SHARED"].map { URL(fileURLWithPath: $0) } ?? besidePackage
    let url = folder.appendingPathComponent(path).standardizedFileURL
    if FileManager.default.fileExists(atPath: url.path) { return url }
    print("NOT RUN: \(path) is absent (set PBE_SHARED to the folder that has it)")
    return nil
  }

  /// A new empty directory, removed afterwards.
  static func withDirectory<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("pbe-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: url) }
    return try body(url)
  }

  static func little<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  /// A zip archive of stored members without checksums, as PyTorch writes when told to.
  static func zip(_ members: [(name: String, data: [UInt8])], wide: Bool = false) -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for (name, data) in members {
      let offset = file.count
      let size = UInt32(data.count)
      file += little(UInt32(0x0403_4b50)) + little(UInt16(20)) + [UInt8](repeating: 0, count: 12)
      file += little(size) + little(size) + little(UInt16(name.utf8.count)) + little(UInt16(0))
      file += Array(name.utf8) + data
      let extra =
        wide
        ? little(UInt16(1)) + little(UInt16(24)) + little(UInt64(size)) + little(UInt64(size))
          + little(UInt64(offset))
        : []
      directory += little(UInt32(0x0201_4b50)) + little(UInt16(45)) + little(UInt16(45))
      directory += [UInt8](repeating: 0, count: 12)
      directory += wide ? [UInt8](repeating: 0xff, count: 8) : little(size) + little(size)
      directory +=
        little(UInt16(name.utf8.count)) + little(UInt16(extra.count)) + [UInt8](repeating: 0, count: 10)
      directory += (wide ? little(UInt32.max) : little(UInt32(offset))) + Array(name.utf8) + extra
    }
    let start = file.count
    file += directory
    if wide {
      let record = file.count
      file += little(UInt32(0x0606_4b50)) + little(UInt64(44)) + little(UInt16(45)) + little(UInt16(45))
      file += [UInt8](repeating: 0, count: 8) + little(UInt64(members.count)) + little(UInt64(members.count))
      file += little(UInt64(directory.count)) + little(UInt64(start))
      file += little(UInt32(0x0706_4b50)) + little(UInt32(0)) + little(UInt64(record)) + little(UInt32(1))
    }
    file += little(UInt32(0x0605_4b50)) + [0, 0, 0, 0]
    let count = wide ? UInt16.max : UInt16(members.count)
    file += little(count) + little(count)
    file += little(wide ? .max : UInt32(directory.count)) + little(wide ? .max : UInt32(start)) + [0, 0]
    return file
  }

  /// A checkpoint archive around `pickle`, with one storage "0" of the given float32 values.
  static func checkpoint(_ pickle: [UInt8], storage: [Float] = [1, 2, 3, 4, 5, 6], wide: Bool = false)
    -> [UInt8]
  {
    let data = HostTensor(storage, shape: [storage.count]).bytes
    return zip([("archive/data.pkl", pickle), ("archive/data/0", data)], wide: wide)
  }

  static func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
    little(UInt64(header.utf8.count)) + Array(header.utf8) + data
  }
}

/// Writes pickles opcode by opcode.
struct PickleBuilder {
  private(set) var bytes: [UInt8] = [0x80, 2]

  /// The pickle with its end.
  var finished: [UInt8] { bytes + [UInt8(ascii: ".")] }

  mutating func raw(_ opcodes: [UInt8]) { bytes += opcodes }
  mutating func raw(_ opcodes: String) { bytes += Array(opcodes.utf8) }
  mutating func string(_ text: String) {
    bytes += [0x58] + TestFiles.little(UInt32(text.utf8.count)) + text.utf8
  }
  mutating func integer(_ value: Int) { bytes += [0x8a, 8] + TestFiles.little(Int64(value)) }
  mutating func global(_ module: String, _ name: String) { raw("c\(module)\n\(name)\n") }

  /// Pushes a float32 tensor of a storage with `count` elements.
  mutating func tensor(shape: [Int], strides: [Int], offset: Int = 0, count: Int = 6, key: String = "0") {
    global("torch._utils", "_rebuild_tensor_v2")
    raw("((")
    string("storage")
    global("torch", "FloatStorage")
    string(key)
    string("cpu")
    integer(count)
    raw("tQ")
    integer(offset)
    for numbers in [shape, strides] {
      raw("(")
      for number in numbers { integer(number) }
      raw("t")
    }
    raw([0x89])
    global("collections", "OrderedDict")
    raw(")RtR")
  }

  /// A dictionary `{"w": tensor}`.
  static func state(shape: [Int], strides: [Int], offset: Int = 0, count: Int = 6, key: String = "0")
    -> [UInt8]
  {
    var builder = PickleBuilder()
    builder.raw("}")
    builder.string("w")
    builder.tensor(shape: shape, strides: strides, offset: offset, count: count, key: key)
    builder.raw("s")
    return builder.finished
  }
}

/// The error that reading `bytes` gives; fails when there is none or it is no `PBEError`.
func readingError(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> PBEError? {
  let error = #expect(throws: PBEError.self, sourceLocation: sourceLocation) {
    _ = try Checkpoint.read(bytes, place: "file")
  }
  #expect(error?.kind == .badData, sourceLocation: sourceLocation)
  #expect(error?.place == "file", sourceLocation: sourceLocation)
  return error
}
