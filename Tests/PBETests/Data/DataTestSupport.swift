import Foundation
import Kernels
import Testing

/// A folder for one test's files, removed when the test lets go of it.
final class ScratchFolder {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("pbe-data-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes `bytes` to the file `name`, creating the folders on the way; returns its path.
  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let url = URL(fileURLWithPath: path).appendingPathComponent(name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  /// Creates a file of `size` zero bytes, but for those of `patches` (offset: byte).
  func writeSparse(_ name: String, size: Int, patches: [Int: UInt8] = [:]) throws {
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: try write(name, [UInt8]())))
    defer { try? file.close() }
    try file.truncate(atOffset: UInt64(size))
    for (offset, byte) in patches {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Data([byte]))
    }
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
}

/// Expects `body` to throw a `PBEError` of `kind` whose description holds all of `parts`.
func expectError(
  _ kind: PBEError.Kind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> Void
) {
  let error = #expect(throws: PBEError.self, sourceLocation: sourceLocation) { try body() }
  guard let error else { return }
  #expect(error.kind == kind, sourceLocation: sourceLocation)
  for part in parts {
    #expect(error.description.contains(part), "\(error) lacks \(part)", sourceLocation: sourceLocation)
  }
}

/// Bytes that look irregular: what the numbers in the tests were made from elsewhere.
func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { (index: Int) -> UInt8 in
    let value = index * 37 + index * index * 11 + index / 3 * 5
    return UInt8(value % 256)
  }
}

func bigEndian(_ value: UInt32) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
}
func littleEndian(_ value: UInt32) -> [UInt8] { bigEndian(value).reversed() }
