import Foundation

/// One process's right to tune a device, and what it is trying: a locked file beside the tuning.
///
/// The system gives the lock back when the process ends, however it ends. A candidate that is still in the file when the
/// next process locks it ended the one before: it crashed the driver, or hung until somebody killed it.
final class TuningJournal {
  /// Candidates that ended earlier runs.
  let suspects: [String]
  private let descriptor: Int32

  /// Locks the journal beside `file`, waiting at most `patience` seconds for another process, with calls of `waiting`
  /// ten times a second. Throws `device` when the other didn't end, `cannotCreate` when the folder can't be written.
  init(beside file: URL, patience: Double, waiting: () throws -> Void = {}) throws {
    try? FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    let path = file.path + ".lock"
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw PBEError(
        .cannotCreate, "the file can't be created (\(String(cString: strerror(errno))))", at: path,
        remedy: "set PBE_GPU_CACHE to a folder that you may write to")
    }
    let deadline = ContinuousClock.now + .seconds(patience)
    do {
      while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        guard errno == EWOULDBLOCK || errno == EINTR, ContinuousClock.now < deadline else {
          throw PBEError(
            .device, "another process is tuning the device", at: path, remedy: "wait for its end")
        }
        try waiting()
        Thread.sleep(forTimeInterval: 0.1)
      }
    } catch {
      close(descriptor)
      throw error
    }
    self.descriptor = descriptor
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    suspects = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(
      String.init)
  }

  /// Before a candidate is tried.
  func begin(_ candidate: String) { write(suspects + [candidate]) }

  /// After it came back.
  func end() { write(suspects) }

  deinit { close(descriptor) }

  /// A journal that can't be written (a full disk) is no reason to stop.
  private func write(_ lines: [String]) {
    let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
    guard ftruncate(descriptor, 0) == 0 else { return }
    _ = pwrite(descriptor, bytes, bytes.count, 0)
  }
}
