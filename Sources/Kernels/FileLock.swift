import Foundation

/// A file that one user at a time has locked. The system gives the lock back when the process ends, however it ends.
public final class FileLock: Sendable {
  /// The open file, which no child process gets by itself.
  public let descriptor: Int32

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// Makes and locks a file, waiting at most `patience` seconds for another user, with calls of `waiting` between looks.
  /// `nil` when the other kept it; unlocked where the file system has no locks. Throws `cannotCreate` when the folder can't be written, and what `waiting` throws.
  public static func acquire(
    _ file: URL, patience: Double, every interval: Double = 0.1,
    remedy: String = "set PBE_GPU_CACHE to a folder that you may write to", waiting: () throws -> Void = {}
  ) throws -> FileLock? {
    try? FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    let descriptor = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw PBEError(
        .cannotCreate, "the file can't be created (\(String(cString: strerror(errno))))", at: file.path,
        remedy: remedy)
    }
    let lock = FileLock(descriptor)
    let deadline = ContinuousClock.now + .seconds(patience)
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // A file system without locks keeps nobody away, but is no reason to wait for anybody.
      guard errno == EWOULDBLOCK || errno == EINTR else { return lock }
      guard ContinuousClock.now < deadline else { return nil }
      try waiting()
      Thread.sleep(forTimeInterval: interval)
    }
    return lock
  }
}
