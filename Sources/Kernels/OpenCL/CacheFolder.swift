import Foundation

/// The folder for what can be made anew: compiled programs and tuning.
struct CacheFolder: Sendable {
  /// The folder; it need not exist.
  let url: URL

  /// The first of `PBE_GPU_CACHE`, `XDG_CACHE_HOME`/pbe-gpu, `HOME`/.cache/pbe-gpu that is set; `nil` when
  /// `PBE_GPU_CACHE` is `off`.
  init?(environment: [String: String] = ProcessInfo.processInfo.environment) {
    func folder(_ name: String) -> URL? {
      environment[name].flatMap { $0.isEmpty ? nil : URL(fileURLWithPath: $0, isDirectory: true) }
    }
    guard environment["PBE_GPU_CACHE"] != "off",
      let url = folder("PBE_GPU_CACHE") ?? folder("XDG_CACHE_HOME")?.appendingPathComponent("pbe-gpu")
        ?? folder("HOME")?.appendingPathComponent(".cache/pbe-gpu")
    else { return nil }
    self.url = url
  }

  /// Writes a file, and its folder if need be, under a temporary name that is then renamed: readers see the old
  /// contents or the new, never a part. Returns whether it worked.
  static func store(_ bytes: some DataProtocol, at file: URL) -> Bool {
    let temporary = file.appendingPathExtension(
      "\(ProcessInfo.processInfo.processIdentifier).\(UInt32.random(in: 0 ... .max))")
    do {
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(bytes).write(to: temporary)
    } catch {
      try? FileManager.default.removeItem(at: temporary)
      return false
    }
    if rename(temporary.path, file.path) == 0 { return true }
    try? FileManager.default.removeItem(at: temporary)
    return false
  }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: names files by what they depend on.
enum FNV1a {
  static func hash(_ bytes: some Sequence<UInt8>, start: UInt64 = 0xCBF2_9CE4_8422_2325) -> UInt64 {
    bytes.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }

  /// A hash as 16 digits.
  static func hex(_ hash: UInt64) -> String {
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
