import Foundation
import Kernels

/// Keeps processes from working on one cell at the same time. The lock belongs to the open file: a child process that
/// is given it holds it too, even when its parent is killed.
public enum CellLock {
  private static func file(_ folder: String) -> URL { URL(fileURLWithPath: "\(folder)/.lock") }

  /// Takes the lock of a cell's folder, which must exist; `nil` when another process has it. Throws `cannotCreate`.
  public static func take(_ folder: String) throws -> FileLock? {
    // Not at once: a process that only asks whether the lock is held has it for a moment.
    try FileLock.acquire(
      file(folder), patience: 0.12, every: 0.05, remedy: "choose another --output")
  }

  /// Whether a process has the lock.
  static func isHeld(_ folder: String) -> Bool {
    let descriptor = open(file(folder).path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
