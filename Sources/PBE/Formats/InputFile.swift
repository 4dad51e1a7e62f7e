import Foundation
import Kernels

/// Reads whole input files, with an error that says which way a path is wrong.
enum InputFile {
  /// The largest file read into memory, in bytes.
  static let sizeLimit = 1 << 34

  /// The contents of a regular file.
  ///
  /// Throws `PBEError`: `.missingInput` when there is no such file, it is a directory or it can't be read;
  /// `.badData` when it is empty or larger than `limit` bytes.
  static func read(_ path: String, limit: Int = sizeLimit) throws -> [UInt8] {
    let descriptor = retryingOnInterrupt { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { throw failure(errno, opening: path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure(errno, opening: path) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR:
      throw PBEError(
        .missingInput, "this is a directory, not a file", at: path, remedy: "name the file inside it")
    default:
      throw PBEError(
        .missingInput, "this is not a regular file", at: path, remedy: "copy what it gives to a file first")
    }
    let size = Int(status.st_size)
    if size == 0 {
      throw PBEError(.badData, "the file is empty (0 bytes)", at: path, remedy: "copy or download it again")
    }
    if size > limit {
      throw PBEError(
        .badData, "the file has \(size) bytes, and at most \(limit) are accepted", at: path,
        remedy: "check that this is the file you meant")
    }
    return try read(size, from: descriptor, path: path)
  }

  private static func read(_ size: Int, from descriptor: Int32, path: String) throws -> [UInt8] {
    var failed: PBEError?
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
      while filled < size {
        let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...])
        // One call reads at most 2 GiB on Linux.
        let got = retryingOnInterrupt {
          Foundation.read(descriptor, rest.baseAddress, min(rest.count, 1 << 30))
        }
        if got < 0 { failed = failure(errno, opening: path) }
        if got == 0 {
          failed = PBEError(
            .badData, "the file got shorter while it was read (\(filled) of \(size) bytes)", at: path,
            remedy: "wait until it is complete")
        }
        if got <= 0 { return }
        filled += got
      }
    }
    if let failed { throw failed }
    return bytes
  }

  private static func failure(_ code: Int32, opening path: String) -> PBEError {
    let text = String(cString: strerror(code))
    return switch code {
    case ENOENT, ENOTDIR:
      PBEError(.missingInput, "there is no such file", at: path, remedy: "check the path")
    case EACCES, EPERM:
      PBEError(
        .missingInput, "the file can't be read (\(text))", at: path,
        remedy: "check the permissions of the file and its directories")
    default: PBEError(.missingInput, "the file can't be read (\(text))", at: path)
    }
  }
}

/// Repeats a system call that a signal interrupted.
func retryingOnInterrupt<Result: SignedInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}
