import Foundation
import Kernels

/// A folder of many files that is there whole or not at all: it is filled under a temporary name beside its own, and
/// then renamed.
public struct OutputFolder {
  private let stage: String
  /// Where it will be, as the user named it.
  public let path: String

  /// Fills the folder at `path`, which must not exist or be empty, by `body`. When that throws, nothing
  /// is left but the folders on the way, which are made where they are missing.
  ///
  /// Throws `cannotCreate` when the folder can't be made, `inputOutput` when writing fails midway.
  public static func write(to path: String, _ body: (OutputFolder) throws -> Void) throws {
    try checkIsFree(path)
    let url = target(path)
    let unique = String(UInt64.random(in: .min ... .max), radix: 36)
    let parent = url.deletingLastPathComponent()
    let stage = parent.appendingPathComponent(".pbe-gpu-\(getpid())-\(unique).tmp").path
    try makeFolder(stage, shown: path)
    var isFinished = false
    defer { if !isFinished { try? FileManager.default.removeItem(atPath: stage) } }
    try body(OutputFolder(stage: stage, path: path))
    // Once for all files: one by one it would take minutes for some ten thousands.
    sync()
    guard rename(stage, url.path) == 0 else {
      throw PBEError(
        .cannotCreate, "the folder can't be put in its place (\(String(cString: strerror(errno))))", at: path,
        remedy: "name one that does not exist")
    }
    isFinished = true
  }

  /// Throws `cannotCreate` when ``write(to:_:)`` could not write there: for a check before long work.
  public static func checkIsFree(_ path: String) throws {
    guard !path.isEmpty else {
      throw PBEError(.usage, "the folder to write has no name", remedy: "name one that does not exist")
    }
    guard InputFile.exists(path) else {
      var info = stat()
      guard lstat(target(path).path, &info) == 0 else { return }
      throw PBEError(
        .cannotCreate, "this is a link to something that does not exist", at: path,
        remedy: "name the folder itself")
    }
    let names = try? FileManager.default.contentsOfDirectory(atPath: path)
    guard InputFile.isFolder(path), names?.isEmpty == true else {
      throw PBEError(
        .cannotCreate, "there is something of this name already", at: path,
        remedy: "name a folder that does not exist, or an empty one")
    }
    guard !isMountPoint(target(path)) else {
      throw PBEError(
        .cannotCreate, "a disk is mounted here, and no folder can take its place", at: path,
        remedy: "name a folder in it that does not exist")
    }
  }

  /// The folder that `path` leads to, without the links on the way: what is renamed takes a link's place, not that of the
  /// folder behind.
  private static func target(_ path: String) -> URL {
    URL(fileURLWithPath: RealPath.existing(path) ?? RealPath.resolvingFolder(of: path))
  }

  /// Whether a folder, named without links, is on another disk than the one it lies in, or lies in none.
  static func isMountPoint(_ folder: URL) -> Bool {
    var (inner, outer) = (stat(), stat())
    guard stat(folder.path, &inner) == 0, stat(folder.deletingLastPathComponent().path, &outer) == 0 else {
      return false
    }
    return inner.st_dev != outer.st_dev || inner.st_ino == outer.st_ino
  }

  /// Makes the folder `name` with those it lies in.
  public func makeFolder(_ name: String) throws {
    try Self.makeFolder("\(stage)/\(name)", shown: "\(path)/\(name)")
  }

  /// Writes a file into a folder that is there.
  public func write(_ bytes: [UInt8], to name: String) throws {
    try write(to: name) { try $0.write(bytes) }
  }

  /// Writes a file piece by piece.
  public func write(to name: String, _ body: (AtomicFile.Sink) throws -> Void) throws {
    let place = "\(path)/\(name)"
    let descriptor = retryingOnInterrupt {
      open("\(stage)/\(name)", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    }
    guard descriptor >= 0 else { throw AtomicFile.creatingFailed(errno, place) }
    try AtomicFile.fill(descriptor, place, sync: false, body)
  }

  /// Creates a folder with those it lies in, unless it is there; errors name it as `shown`. Throws `cannotCreate`, or
  /// `inputOutput` when the disk is full.
  public static func makeFolder(_ folder: String, shown: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      let code = ((error as? CocoaError)?.underlying as? POSIXError)?.code.rawValue ?? EIO
      throw AtomicFile.creatingFailed(code, shown, what: "folder")
    }
  }
}
