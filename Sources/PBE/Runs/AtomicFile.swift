import Foundation
import Kernels

/// Writes files so that a reader, or a run that was killed, sees the old contents or the new, never a part.
///
/// The bytes go to a temporary name in the same directory, are flushed to the disk, and are then renamed.
/// After any failure the temporary file is removed. Links are followed; devices and pipes are written
/// directly. Throws `PBEError`: `.cannotCreate` when the file can't be created or put in place,
/// `.inputOutput` when writing fails midway.
public enum AtomicFile {
  /// Takes the bytes of a file in order; of use only while the closure that got it runs.
  public struct Sink {
    fileprivate let descriptor: Int32
    fileprivate let path: String

    /// Appends bytes; throws `PBEError(.inputOutput)`.
    public func write(_ bytes: some ContiguousBytes) throws {
      try bytes.withUnsafeBytes { buffer in
        var done = 0
        while done < buffer.count {
          let rest = UnsafeRawBufferPointer(rebasing: buffer[done...])
          let written = retryingOnInterrupt {
            Foundation.write(descriptor, rest.baseAddress, min(rest.count, 1 << 30))
          }
          if written < 0 { throw AtomicFile.writingFailed(errno, path) }
          done += written
        }
      }
    }
  }

  /// Writes `bytes` to the file at `path`.
  public static func write(_ bytes: some ContiguousBytes, to path: String) throws {
    try write(to: path) { try $0.write(bytes) }
  }

  /// Writes `text` as UTF-8 to the file at `path`.
  public static func write(_ text: String, to path: String) throws {
    try write(Array(text.utf8), to: path)
  }

  /// Writes what `body` gives to its sink to the file at `path`; an error of `body` leaves the old file
  /// alone.
  public static func write(to path: String, _ body: (Sink) throws -> Void) throws {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists {
      let kind = status.st_mode & S_IFMT
      if kind == S_IFDIR {
        throw PBEError(.cannotCreate, "there is a directory of this name", at: path, remedy: "name a file")
      }
      // Renaming over a device such as /dev/null would replace the device itself.
      if kind != S_IFREG { return try writeDirectly(to: path, body) }
    }
    let target = try resolved(path)
    let temporary = temporaryName(beside: target)
    let descriptor = retryingOnInterrupt {
      open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, exists ? status.st_mode & 0o777 : 0o666)
    }
    guard descriptor >= 0 else { throw creatingFailed(errno, path) }
    // What the process masks of new files' modes is none of an old file's.
    if exists { fchmod(descriptor, status.st_mode & 0o777) }
    var renamed = false
    defer { if !renamed { unlink(temporary) } }
    try fill(descriptor, path, sync: true, body)
    guard rename(temporary, target) == 0 else { throw creatingFailed(errno, path) }
    renamed = true
    syncDirectory(of: target)
  }

  private static func writeDirectly(to path: String, _ body: (Sink) throws -> Void) throws {
    let descriptor = retryingOnInterrupt { open(path, O_WRONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw creatingFailed(errno, path) }
    try fill(descriptor, path, sync: false, body)
  }

  /// Fills an open file and closes it.
  static func fill(
    _ descriptor: Int32, _ path: String, sync: Bool, _ body: (Sink) throws -> Void
  ) throws {
    do {
      try body(Sink(descriptor: descriptor, path: path))
      if sync, retryingOnInterrupt({ fsync(descriptor) }) != 0 { throw writingFailed(errno, path) }
    } catch {
      close(descriptor)
      throw error
    }
    // Network file systems report a full disk only here. EINTR still closes the descriptor on Linux.
    if close(descriptor) != 0, errno != EINTR { throw writingFailed(errno, path) }
  }

  /// Where the links lead, be it to nothing yet.
  private static func resolved(_ path: String) throws -> String {
    if let real = RealPath.existing(path) { return real }
    var place = path
    // As many as the system follows.
    for _ in 0..<40 {
      guard let next = try? FileManager.default.destinationOfSymbolicLink(atPath: place) else { return place }
      place = next.hasPrefix("/") ? next : directory(of: place) + next
    }
    throw creatingFailed(ELOOP, path)
  }

  private static func temporaryName(beside path: String) -> String {
    // Not made from the file's own name, which may already be as long as names can be.
    let unique = String(UInt64.random(in: .min ... .max), radix: 36)
    return directory(of: path) + ".pbe-gpu-\(getpid())-\(unique).tmp"
  }

  /// The directory with its final slash, or nothing for a bare name.
  private static func directory(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
  }

  /// Makes the rename itself durable, where the file system can; the contents are safe without it.
  private static func syncDirectory(of path: String) {
    let directory = directory(of: path)
    let descriptor = open(directory.isEmpty ? "." : directory, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  static func creatingFailed(_ code: Int32, _ path: String, what: String = "file") -> PBEError {
    if isFull(code) { return writingFailed(code, path) }
    let remedy =
      switch code {
      case ENOENT where what == "file", ENOTDIR where what == "file": "create the directory first"
      case EACCES, EPERM, EROFS: "choose a directory that you may write to"
      default: "choose another place"
      }
    let text = String(cString: strerror(code))
    return PBEError(.cannotCreate, "the \(what) can't be created (\(text))", at: path, remedy: remedy)
  }

  private static func writingFailed(_ code: Int32, _ path: String) -> PBEError {
    let text = String(cString: strerror(code))
    if isFull(code) {
      return PBEError(
        .inputOutput, "the disk is full (\(text))", at: path,
        remedy: "free some space or choose another disk, then run again")
    }
    return PBEError(
      .inputOutput, "writing failed (\(text))", at: path, remedy: "check the disk, then run again")
  }

  private static func isFull(_ code: Int32) -> Bool { code == ENOSPC || code == EDQUOT }
}

/// Repeats a system call that a signal interrupted.
func retryingOnInterrupt<Result: SignedInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}
