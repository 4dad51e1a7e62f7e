import Foundation

/// Compiled programs on disk, so that a second start doesn't compile. Any failure is a miss.
///
/// A file is named by a hash of everything that the binary depends on, and holds that, too, so that a collision or a
/// torn file is noticed. It is written under a temporary name and renamed: readers never see half of it.
struct OpenCLProgramCache: Sendable {
  /// Changes with the file's format.
  private static let magic = Array("pbe-gpu program 1\n".utf8)
  private let folder: CacheFolder?

  /// The cache that the environment asks for: `PBE_GPU_CACHE` is a directory, or `off`.
  static let standard = OpenCLProgramCache(environment: ProcessInfo.processInfo.environment)

  /// A cache in ``CacheFolder``.
  init(environment: [String: String]) { folder = CacheFolder(environment: environment) }

  /// The binary that was stored for `key`.
  func load(_ key: String) -> [UInt8]? {
    guard let file = file(key), let data = try? Data(contentsOf: file) else { return nil }
    let header = Self.header(key)
    let bytes = [UInt8](data)
    guard bytes.count > header.count + 8, bytes.starts(with: header) else { return nil }
    let binary = Array(bytes[(header.count + 8)...])
    return Array(bytes[header.count..<header.count + 8]) == Self.bytes(FNV1a.hash(binary)) ? binary : nil
  }

  /// Stores a binary for `key`.
  func store(_ binary: [UInt8], _ key: String) {
    guard let file = file(key) else { return }
    _ = CacheFolder.store(Self.header(key) + Self.bytes(FNV1a.hash(binary)) + binary, at: file)
  }

  /// Waits for its turn to compile: of many processes that start at once one compiles, and the others find its program.
  /// Also, PoCL 3.1 fails now and then when several processes compile the same text. A minute without a turn, or no folder
  /// to keep a lock in, is no reason not to compile.
  func turn() -> FileLock? {
    folder.flatMap {
      try? FileLock.acquire($0.url.appendingPathComponent("compiling.lock"), patience: 60, every: 0.02)
    }
  }

  private func file(_ key: String) -> URL? {
    folder?.url.appendingPathComponent("program-" + FNV1a.hex(FNV1a.hash(key.utf8)) + ".bin")
  }

  /// The magic, and a second, differently seeded hash of the key.
  private static func header(_ key: String) -> [UInt8] {
    magic + bytes(FNV1a.hash(key.utf8, start: 0x6C62_272E_07BB_0142)) + bytes(UInt64(key.utf8.count))
  }

  private static func bytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}
