import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Safetensors")
struct SafetensorsTests {
  @Test("what is written is read back, and equal models give equal bytes")
  func roundTrip() throws {
    let state = try Checkpoint.read(try TestFiles.fixture("checkpoint.pth"), place: "file").state
    var reversed = StateDictionary()
    for (name, tensor) in state.entries.reversed() { reversed[name] = tensor }
    var odd = state
    odd["quote \" slash \\ tab \t nul \0 é 漢"] = HostTensor([1], shape: [])
    try TestFiles.withDirectory { directory in
      let paths = ["a", "b", "c"].map { directory.path + "/\($0).safetensors" }
      let metadata = ["format": "pt", "made by": "line\nbreak \u{7f}"]
      try Safetensors.write(state, metadata: metadata, to: paths[0])
      try Safetensors.write(reversed, metadata: metadata, to: paths[1])
      try Safetensors.write(odd, to: paths[2])
      let bytes = try Data(contentsOf: URL(fileURLWithPath: paths[0]))
      #expect(try Data(contentsOf: URL(fileURLWithPath: paths[1])) == bytes)
      #expect(Int(bytes[0]) % 8 == 0)
      let loaded = try Checkpoint.load(paths[0])
      #expect(loaded.metadata == metadata)
      #expect(loaded.state.count == state.count)
      for (name, tensor) in state.entries { #expect(loaded.state[name] == tensor, "\(name)") }
      let again = try Checkpoint.load(paths[2]).state
      #expect(Set(again.names) == Set(odd.names))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 3)
    }
  }

  @Test("a shape of too many extents is refused, in few words")
  func manyExtents() {
    let shape = Array(repeating: "1", count: 65).joined(separator: ",")
    let header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[0,4]}}"
    let error = readingError(TestFiles.safetensors(header, data: [0, 0, 0, 0]))
    #expect(error.map { $0.what.contains("no shape") && "\($0)".utf8.count < 300 } == true)
  }

  @Test("an empty model")
  func empty() throws {
    let loaded = try Checkpoint.read(TestFiles.safetensors("{}"), place: "file")
    #expect(loaded.state.isEmpty && loaded.format == "safetensors")
  }

  static let four = [UInt8](repeating: 1, count: 4)

  @Test(
    "headers that lie",
    arguments: [
      (
        #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
          + #""b":{"shape":[],"dtype":"U8","data_offsets":[3,4]}}"#,
        "inside another tensor"
      ),
      (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#, "after a gap"),
      (#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, "describes 3 bytes of data"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, "describes 8 bytes of data"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "needs 8 bytes"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, "no data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, "no data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, "no data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, "no shape"),
      (#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, "no shape"),
      (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, "no shape"),
      (#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#, "no shape"),
      (#"{"a":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}"#, "no shape"),
      (#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, "F8_E4M3"),
      (#"{"a":{"shape":[4],"data_offsets":[0,4]}}"#, "no dtype"),
      (
        #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{}}"#,
        "occurs twice"
      ),
      (#"{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}"#, "occurs twice"),
      (#"{"__metadata__":{"a":1}}"#, "not a string"), (#"{"__metadata__":[]}"#, "not an object"),
      (#"{"a":[]}"#, "not described by an object"), (#"{"a":{}"#, "comma or a closing brace"),
      (#"{"a""#, "colon"),
      (#"{"a":}"#, "value is expected"), (#"{"a":01}"#, "value is expected"),
      (#"{"a":1e}"#, "value is expected"),
      (#"{"a":tru}"#, "value is expected"), (#"{"\ud800":1}"#, "surrogate"),
      (#"{"\u12x4":1}"#, "hexadecimal"),
      (#"{"\q":1}"#, "unknown escape"), (#"{"a"#, "does not end"), (#"{"a\"#, "does not end"),
      ("{} {", "more text"),
      ("{\"a\n\":1}", "control character"),
    ])
  func hostileHeaders(_ header: String, _ text: String) {
    let error = readingError(TestFiles.safetensors(header, data: Self.four))
    #expect(error?.what.contains(text) == true, "\(error?.what ?? "no error")")
  }

  @Test("bytes that are no header")
  func hostileBytes() {
    let deep = "{\"a\":" + String(repeating: "[", count: 200_000)
    #expect(readingError(TestFiles.safetensors(deep))?.what.contains("nested more than") == true)
    let notText: [UInt8] = TestFiles.little(UInt64(6)) + Array("{\"".utf8) + [0xff, 0xfe] + Array("\":".utf8)
    #expect(readingError(notText)?.what.contains("not UTF-8") == true)
    let long: [UInt8] = TestFiles.little(UInt64(100_000_000)) + Array("{}".utf8)
    #expect(readingError(long)?.what.contains("too early") == true)
    for length in [UInt64.max, 1 << 63, 100_000_001] {
      _ = readingError(TestFiles.little(length) + Array("{}".utf8))
      #expect(throws: PBEError.self) {
        _ = try Safetensors.read(TestFiles.little(length) + Array("{}".utf8), place: "file")
      }
    }
  }
}
