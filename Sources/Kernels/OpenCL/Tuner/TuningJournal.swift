import Foundation

/// One process's right to tune a device, and what it is trying: a locked file beside the tuning.
///
/// A candidate that is still in the file when the next process locks it ended the one before: it crashed the driver, or
/// hung until somebody killed it.
final class TuningJournal {
  /// Candidates that ended earlier runs, one as often as it did.
  private(set) var suspects: [String]
  private let lock: FileLock

  /// Locks the journal beside `file`, waiting at most `patience` seconds for another process, with calls of `waiting`
  /// ten times a second. Throws `device` when the other didn't end, `cannotCreate` when the folder can't be written.
  init(beside file: URL, patience: Double, waiting: () throws -> Void = {}) throws {
    let path = file.appendingPathExtension("lock")
    guard let lock = try FileLock.acquire(path, patience: patience, waiting: waiting) else {
      throw PBEError(
        .device, "another process is tuning the device", at: path.path, remedy: "wait for its end")
    }
    self.lock = lock
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = pread(lock.descriptor, &bytes, bytes.count, 0)
    suspects = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(
      String.init)
  }

  /// Before a candidate is tried.
  func begin(_ candidate: String) { write(suspects + [candidate]) }

  /// After it came back.
  func end() { write(suspects) }

  /// After all that is done with it came back: it is no suspect any more.
  func acquit(_ candidate: String) {
    suspects.removeAll { $0 == candidate }
    end()
  }

  /// A journal that can't be written (a full disk) is no reason to stop.
  private func write(_ lines: [String]) {
    let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
    guard ftruncate(lock.descriptor, 0) == 0 else { return }
    _ = pwrite(lock.descriptor, bytes, bytes.count, 0)
  }
}
