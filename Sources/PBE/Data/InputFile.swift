import Foundation
import Kernels

/// Reads of whole files, with errors that name the file.
public enum InputFile {
  /// True if there is a folder at `path`.
  static func isFolder(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }

  /// Whether there is a folder at `path`, where something must be: throws `missingInput` for what can't be looked at, such as
  /// a link that leads nowhere.
  static func isFolder(existing path: String, remedy: String) throws -> Bool {
    var info = stat()
    guard stat(path, &info) == 0 else { throw missing(path, remedy: remedy) }
    return info.st_mode & S_IFMT == S_IFDIR
  }

  /// Throws `missingInput` where no folder is at `path`.
  static func checkFolder(_ path: String, remedy: String) throws {
    guard isFolder(path) else {
      throw PBEError(
        .missingInput, exists(path) ? "this is no folder" : "there is no such folder", at: path,
        remedy: remedy)
    }
  }

  /// True if something has this name, be it a link that leads nowhere or a file that can't be looked at.
  public static func isNamed(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 || errno != ENOENT && errno != ENOTDIR
  }

  /// True if there is anything at `path`.
  public static func exists(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0
  }

  /// Bytes of the regular file at `path`; throws `missingInput` when there is none.
  static func size(_ path: String, remedy: String) throws -> Int {
    var info = stat()
    guard stat(path, &info) == 0 else { throw missing(path, remedy: remedy) }
    guard info.st_mode & S_IFMT == S_IFREG else {
      throw PBEError(.missingInput, "this is not a regular file", at: path, remedy: remedy)
    }
    return Int(info.st_size)
  }

  /// The contents of the file at `path`, which may have at most `limit` bytes. System calls rather than
  /// Foundation's `Data`: GTSRB is 51,839 files of 3 KB, where the cost per file counts.
  public static func read(_ path: String, limit: Int, remedy: String) throws -> [UInt8] {
    try reading(path, remedy: remedy) { descriptor, size in
      guard size <= limit else {
        throw PBEError(
          .badData, "the file has \(size) bytes; at most \(limit) were expected", at: path, remedy: remedy)
      }
      return try bytes(size, of: descriptor, path)
    }
  }

  /// The first `count` bytes of the file at `path`, or all of a shorter one.
  static func start(of path: String, count: Int, remedy: String) throws -> [UInt8] {
    try reading(path, remedy: remedy) { descriptor, size in try bytes(min(size, count), of: descriptor, path)
    }
  }

  /// Opens a regular file; `body` gets its descriptor and its size.
  private static func reading(
    _ path: String, remedy: String, _ body: (Int32, Int) throws -> [UInt8]
  ) throws -> [UInt8] {
    // To C, a path ends at its first NUL: another file than the one named.
    if path.contains("\0") {
      throw PBEError(.missingInput, "no file can have this name", at: path, remedy: remedy)
    }
    // Not to wait for ever for somebody to write to a pipe; regular files are read as ever.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw missing(path, remedy: remedy) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      throw PBEError(.missingInput, "this is not a regular file", at: path, remedy: remedy)
    }
    return try body(descriptor, Int(info.st_size))
  }

  private static func bytes(_ size: Int, of descriptor: Int32, _ path: String) throws -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      guard let base = buffer.baseAddress else { return }
      while count < size {
        let got = Foundation.read(descriptor, base + count, size - count)
        if got < 0 && errno == EINTR { continue }
        guard got >= 0 else {
          throw PBEError(.inputOutput, "reading failed: \(systemMessage())", at: path)
        }
        if got == 0 { break }
        count += got
      }
    }
  }

  private static func missing(_ path: String, remedy: String) -> PBEError {
    let what = errno == ENOENT || errno == ENOTDIR ? "the file is missing" : systemMessage()
    return PBEError(.missingInput, what, at: path, remedy: remedy)
  }

  private static func systemMessage() -> String { String(cString: strerror(errno)) }
}
