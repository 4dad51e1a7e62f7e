import Foundation
import Kernels

/// Keeps processes from working on one cell at the same time. The lock belongs to the open file: a child process that
/// is given it holds it too, even when its parent is killed.
public final class CellLock {
  /// The open file, which no child process gets by itself: it may be another cell's.
  public let descriptor: Int32

  private static func path(_ folder: String) -> String { "\(folder)/.lock" }

  /// Takes the lock of a cell's folder, which must exist; `nil` when another process has it. Throws `cannotCreate`.
  public init?(_ folder: String) throws {
    let descriptor = open(Self.path(folder), O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw PBEError(
        .cannotCreate, "the file can't be created (\(String(cString: strerror(errno))))",
        at: Self.path(folder),
        remedy: "choose another --output")
    }
    // More than once: a process that only asks whether the lock is held has it for a moment.
    for _ in 0..<3 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
        self.descriptor = descriptor
        return
      }
      Thread.sleep(forTimeInterval: 0.05)
    }
    close(descriptor)
    return nil
  }

  deinit { close(descriptor) }

  /// Whether a process has the lock.
  static func isHeld(_ folder: String) -> Bool {
    let descriptor = open(path(folder), O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
