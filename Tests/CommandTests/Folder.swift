import Foundation

/// A folder for files, removed with the last reference to it.
final class Folder: Sendable {
  let path: String

  init() throws {
    // A space and an accent: what users' folders have, too.
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("pbe tést \(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  subscript(name: String) -> String { "\(path)/\(name)" }

  func handle(_ name: String) throws -> FileHandle {
    _ = FileManager.default.createFile(atPath: self[name], contents: nil)
    return try FileHandle(forWritingTo: URL(fileURLWithPath: self[name]))
  }

  func data(_ name: String) -> Data { FileManager.default.contents(atPath: self[name]) ?? Data() }

  /// A file's bytes, to compare. Where two files of megabytes differ, `#expect` would look for what they have in common for
  /// hours; this is not a collection.
  struct Bytes: Equatable, CustomStringConvertible {
    fileprivate let data: Data
    var description: String { "\(data.count) bytes" }
  }

  func bytes(_ name: String) -> Bytes { Bytes(data: data(name)) }

  func text(_ name: String) -> String { String(decoding: data(name), as: UTF8.self) }

  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: self[name]))
    return self[name]
  }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  /// The names in the folder `name`, hidden ones included; empty when there is no such folder.
  func names(_ name: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: self[name])) ?? []).sorted()
  }

  /// The names of the results in a run's folder: without what it writes of itself while it goes on.
  func results(_ name: String) -> [String] {
    names(name).filter { !["run.json", "events.jsonl"].contains($0) }
  }
}
