import Foundation

/// What the tuner found, as a readable file per device, driver and text of the kernels.
struct TuningFile: Codable {
  /// One family's entry.
  struct Entry: Codable {
    /// What is used.
    var parameters: ProductParameters
    /// How much faster it was than the untuned choice.
    var speedUp: Double
    /// Its relative error against the CPU backend.
    var error: Double?
    /// How many candidates were tried.
    var tried: Int
  }

  /// ``OpenCLTuner/version``.
  var version: Int
  /// The device, its driver and its platform, as they name themselves.
  var device: String
  /// A hash of the kernels: other kernels have not been checked.
  var kernels: String
  /// The families that there was time for; the others keep the untuned choice.
  var families: [ProductFamily: Entry]
}

/// The files of ``OpenCLTuner`` in the cache folder.
struct TuningStore: Sendable {
  /// What is there for a device.
  enum Stored {
    case nothing
    case tuned(OpenCLTuning)
    /// A file that can't be used, and why.
    case unusable(String)
  }

  private let folder: URL?
  private let environment: [String: String]

  /// The store that the environment asks for; `PBE_GPU_KERNELS`, which chooses kernels by hand, means none.
  init(environment: [String: String] = ProcessInfo.processInfo.environment) {
    self.environment = environment
    folder =
      Self.chosenByHand(environment)
      ? nil : CacheFolder(environment: environment)?.url.appendingPathComponent("tuning")
  }

  /// Whether the environment chooses the kernels.
  static func chosenByHand(_ environment: [String: String]) -> Bool {
    environment["PBE_GPU_KERNELS"].map { !$0.isEmpty } ?? false
  }

  /// The file of a device: `v1-<its name>-<a hash of driver, versions and kernels>.json`.
  func file(for device: OpenCLDevice) -> URL? {
    let name = device.description.name.unicodeScalars.prefix(48).map {
      $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0)) ? Character($0) : "_"
    }
    let hash = FNV1a.hex(FNV1a.hash((device.fingerprint + OpenCLCompiler.fingerprint).utf8))
    return folder?.appendingPathComponent("v\(OpenCLTuner.version)-\(String(name))-\(hash).json")
  }

  /// What was found for a device, if anything usable is there.
  func stored(for device: OpenCLDevice) throws -> OpenCLTuning? {
    if case .tuned(let tuning) = try load(for: device) { return tuning }
    return nil
  }

  /// Reads a device's file. Throws only for a wrong `PBE_GPU_KERNELS`.
  func load(for device: OpenCLDevice) throws -> Stored {
    var tuning = try OpenCLTuning(device.limits, environment: environment)
    guard let file = file(for: device), FileManager.default.fileExists(atPath: file.path) else {
      return .nothing
    }
    guard let data = Self.read(file), let contents = try? JSONDecoder().decode(TuningFile.self, from: data)
    else {
      return .unusable("it is damaged")
    }
    guard contents.version == OpenCLTuner.version else { return .unusable("another version wrote it") }
    guard contents.device == device.fingerprint else { return .unusable("it is of another device or driver") }
    guard contents.kernels == OpenCLCompiler.fingerprint else { return .unusable("it is of other kernels") }
    let refused = tuning.use(contents.families.mapValues(\.parameters))
    guard refused.isEmpty else {
      return .unusable("it has impossible parameters for " + refused.map(\.rawValue).joined(separator: ", "))
    }
    tuning.origin = "tuned"
    tuning.wrong = contents.families.filter { $0.value.error == nil }.map(\.key)
    return .tuned(tuning)
  }

  /// Writes a device's file; returns whether it worked.
  func store(_ findings: [OpenCLTuner.Finding], for device: OpenCLDevice) -> Bool {
    guard let file = file(for: device) else { return false }
    // Of what could not be tried nothing is known: it is as if there had been no time for it.
    let entries = findings.filter { $0.tried > 0 }.map { finding in
      (
        finding.family,
        TuningFile.Entry(
          parameters: finding.chosen, speedUp: finding.speedUp, error: finding.error, tried: finding.tried)
      )
    }
    let contents = TuningFile(
      version: OpenCLTuner.version, device: device.fingerprint, kernels: OpenCLCompiler.fingerprint,
      families: Dictionary(entries) { $1 })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(contents) else { return false }
    return CacheFolder.store(data, at: file)
  }

  /// A file's bytes, unless it is far longer than any tuning.
  private static func read(_ file: URL) -> Data? {
    guard let handle = try? FileHandle(forReadingFrom: file) else { return nil }
    defer { try? handle.close() }
    guard let data = try? handle.read(upToCount: 1 << 20), data.count < 1 << 20 else { return nil }
    return data
  }
}
