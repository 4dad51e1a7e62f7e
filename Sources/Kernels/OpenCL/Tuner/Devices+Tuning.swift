import Foundation

/// What tuning a device found, in words.
public struct TuningReport: Sendable {
  /// One kind of work.
  public struct Row: Sendable {
    /// The kind of work.
    public var family: String
    /// The untuned choice.
    public var standard: String
    /// The choice from now on.
    public var chosen: String
    /// The untuned choice's time divided by the chosen one's.
    public var speedUp: Double
    /// The chosen one's relative error against the CPU; `nil` where nothing was right.
    public var error: Double?
    /// How many candidates were tried.
    public var tried: Int
    /// What was discarded, and why.
    public var discarded: [String]
  }

  /// The device's identifier.
  public var device: String
  /// The file with the choices.
  public var file: String
  /// How long it took.
  public var seconds: Double
  /// The kinds of work that there was time for.
  public var rows: [Row]
}

extension Devices {
  /// Tunes an OpenCL device now and writes the file that later uses read: about 30 seconds, `thorough` 5 minutes, unless
  /// `seconds` says otherwise. `progress` gets what is being tried and the share that is done, and may throw to stop.
  ///
  /// Throws `usage` for the CPU, which has nothing to tune, and when the environment decides already; `cannotCreate` when
  /// the file can't be written; `device` when another process is tuning the device, or nothing could be tried.
  public static func tune(
    _ name: String, thorough: Bool = false, seconds: Double? = nil,
    progress: (String, Double) throws -> Void = { _, _ in }
  ) throws -> TuningReport {
    guard let device = try openable(name) else {
      throw PBEError(
        .usage, "the CPU backend has nothing to tune", at: "--device \(name)", remedy: "name an OpenCL device"
      )
    }
    let store = TuningStore()
    guard let file = store.file(for: device) else {
      throw PBEError(
        .usage,
        "PBE_GPU_CACHE=off leaves no place for the result, or PBE_GPU_KERNELS chooses the kernels already",
        at: device.description.identifier, remedy: "unset it")
    }
    let start = ContinuousClock.now
    let tuner = OpenCLTuner(device, thorough: thorough, seconds: seconds)
    let journal = try TuningJournal(beside: file, patience: 0)
    let findings = try tuner.run(journal: journal, progress: progress)
    guard store.store(findings, for: device) else {
      throw PBEError(
        .cannotCreate, "the file can't be written", at: file.path,
        remedy: "set PBE_GPU_CACHE to a folder that you may write to")
    }
    return TuningReport(
      device: device.description.identifier, file: file.path, seconds: (ContinuousClock.now - start).seconds,
      rows: findings.map {
        TuningReport.Row(
          family: $0.family.rawValue, standard: $0.standard.words, chosen: $0.chosen.words,
          speedUp: $0.speedUp, error: $0.error, tried: $0.tried, discarded: $0.discarded)
      })
  }
}
