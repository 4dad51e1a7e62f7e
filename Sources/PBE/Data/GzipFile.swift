import CZlib
import Kernels

/// A file that is read from its start, plain or gzipped: zlib tells which from the first bytes.
final class GzipFile {
  private let file: gzFile
  private let path: String

  /// Opens the file; throws `missingInput` when there is none.
  init(_ path: String, remedy: String) throws {
    _ = try InputFile.size(path, remedy: remedy)
    guard let file = gzopen(path, "rb") else {
      throw PBEError(.missingInput, "the file can't be opened", at: path, remedy: remedy)
    }
    self.file = file
    self.path = path
  }

  deinit { gzclose(file) }

  /// The next bytes: `count` of them, or fewer where the file ends. Memory grows with what the file really holds,
  /// whatever a header says. Throws `badData` when the compressed contents are damaged.
  func read(upTo count: Int) throws -> [UInt8] {
    var result: [UInt8] = []
    while result.count < count {
      let wanted = min(count - result.count, 1 << 20)
      var got: Int32 = 0
      let block = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, initialized in
        got = gzread(file, buffer.baseAddress, UInt32(wanted))
        initialized = max(Int(got), 0)
      }
      try check(got)
      if block.isEmpty { break }
      result += block
    }
    return result
  }

  private func check(_ got: Int32) throws {
    var code: Int32 = Z_OK
    let message = gzerror(file, &code)
    if got >= 0 && code == Z_OK { return }
    // Z_BUF_ERROR: the compressed file ended too early.
    let what =
      code == Z_BUF_ERROR
      ? "the compressed file is cut off"
      : "the compressed file is damaged (\(message.map { String(cString: $0) } ?? "code \(code)"))"
    throw PBEError(.badData, what, at: path, remedy: "download it again")
  }
}
