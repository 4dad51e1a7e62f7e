import Foundation

/// Compiled programs on disk, so that a second start doesn't compile. Any failure is a miss.
///
/// A file is named by a hash of everything that the binary depends on, and holds that, too, so that a collision or a
/// torn file is noticed. It is written under a temporary name and renamed: readers never see half of it.
struct OpenCLProgramCache: Sendable {
  /// Changes with the file's format.
  private static let magic = Array("pbe-gpu program 1\n".utf8)
  private let directory: URL?

  /// The cache that the environment asks for: `PBE_GPU_CACHE` is a directory, or `off`.
  static let standard = OpenCLProgramCache(environment: ProcessInfo.processInfo.environment)

  /// A cache in the first of `PBE_GPU_CACHE`, `XDG_CACHE_HOME`/pbe-gpu, `HOME`/.cache/pbe-gpu that is set.
  init(environment: [String: String]) {
    func folder(_ name: String) -> URL? {
      environment[name].flatMap { $0.isEmpty ? nil : URL(fileURLWithPath: $0, isDirectory: true) }
    }
    if environment["PBE_GPU_CACHE"] == "off" {
      directory = nil
    } else {
      directory =
        folder("PBE_GPU_CACHE") ?? folder("XDG_CACHE_HOME")?.appendingPathComponent("pbe-gpu")
        ?? folder("HOME")?.appendingPathComponent(".cache/pbe-gpu")
    }
  }

  /// The binary that was stored for `key`.
  func load(_ key: String) -> [UInt8]? {
    guard let file = file(key), let data = try? Data(contentsOf: file) else { return nil }
    let header = Self.header(key)
    let bytes = [UInt8](data)
    guard bytes.count > header.count + 8, bytes.starts(with: header) else { return nil }
    let binary = Array(bytes[(header.count + 8)...])
    return Array(bytes[header.count..<header.count + 8]) == Self.bytes(Self.hash(binary)) ? binary : nil
  }

  /// Stores a binary for `key`.
  func store(_ binary: [UInt8], _ key: String) {
    guard let file = file(key), let directory else { return }
    let temporary = file.appendingPathExtension(
      "\(ProcessInfo.processInfo.processIdentifier).\(UInt32.random(in: 0 ... .max))")
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      try Data(Self.header(key) + Self.bytes(Self.hash(binary)) + binary).write(to: temporary)
    } catch {
      try? FileManager.default.removeItem(at: temporary)
      return
    }
    if rename(temporary.path, file.path) != 0 { try? FileManager.default.removeItem(at: temporary) }
  }

  private func file(_ key: String) -> URL? {
    directory?.appendingPathComponent("program-" + Self.hex(Self.hash(Array(key.utf8))) + ".bin")
  }

  /// The magic, and a second, differently seeded hash of the key.
  private static func header(_ key: String) -> [UInt8] {
    magic + bytes(hash(Array(key.utf8), start: 0x6C62_272E_07BB_0142)) + bytes(UInt64(key.utf8.count))
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func bytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  /// FNV-1a (Fowler, Noll, Vo), 64 bits.
  private static func hash(_ bytes: [UInt8], start: UInt64 = 0xCBF2_9CE4_8422_2325) -> UInt64 {
    bytes.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }
}
