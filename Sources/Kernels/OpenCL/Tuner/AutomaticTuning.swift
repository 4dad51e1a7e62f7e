import Foundation

/// Tunes a GPU the first time that it is used.
struct AutomaticTuning {
  let store: TuningStore
  /// What the user should know, a line each.
  let notice: (String) -> Void
  private let mode: String

  /// `PBE_GPU_TUNE=off` turns it off, `on` also tunes CPUs.
  init(
    environment: [String: String] = ProcessInfo.processInfo.environment, notice: @escaping (String) -> Void
  ) {
    store = TuningStore(environment: environment)
    mode = environment["PBE_GPU_TUNE"] ?? ""
    self.notice = notice
  }

  /// A device's tuning: from its file, or found now; `nil` for the untuned choice. Whatever goes wrong is told and is no
  /// reason to stop; throws only what `progress` throws, and for a wrong `PBE_GPU_KERNELS`.
  func tuning(
    for device: OpenCLDevice, tuner: OpenCLTuner? = nil, progress: OpenCLTuner.Progress = { _, _ in }
  ) throws -> OpenCLTuning? {
    guard let file = store.file(for: device) else { return nil }
    let stored = try store.load(for: device)
    if case .tuned(let tuning) = stored {
      for family in tuning.wrong.map(\.rawValue).sorted() {
        notice(
          "warning: tuning found no kernel for \(family) that computes right: don't trust this device before "
            + "`pbe-gpu parity` passes; `pbe-gpu tune` tries again")
      }
      return tuning
    }
    if case .unusable(let why) = stored { notice("warning: \(file.path) is ignored: \(why)") }
    guard mode == "on" || (mode != "off" && !device.limits.isCPU) else { return nil }

    let tuner = tuner ?? OpenCLTuner(device)
    // Another process may be tuning: what it finds is worth waiting for, but not much longer than it should take.
    let journal: TuningJournal
    do {
      journal = try TuningJournal(beside: file, patience: 2 * tuner.seconds) {
        try progress("by another process", 0)
      }
    } catch let error as PBEError where error.kind == .device || error.kind == .cannotCreate {
      notice("warning: \(device.description.identifier) isn't tuned: \(error)")
      return try store.stored(for: device)
    }
    if let tuning = try store.stored(for: device) { return tuning }
    notice(
      "tuning \(device.description.name) for about \(Int(tuner.seconds.rounded(.up))) s, once; "
        + "`pbe-gpu tune` redoes it")
    if let suspect = journal.suspects.last {
      notice(
        "warning: an earlier tuning ended while it tried \(suspect); if this one does, too, "
          + "PBE_GPU_KERNELS=registers chooses kernels that run everywhere")
    }
    let findings: [OpenCLTuner.Finding]
    do { findings = try tuner.run(journal: journal, progress: progress) } catch let error as PBEError
      where error.kind == .device
    {
      // Such as for want of memory, which other programs may have now: the next start tries again.
      notice("warning: \(device.description.identifier) isn't tuned: \(error)")
      return nil
    }
    if !store.store(findings, for: device) { notice("warning: \(file.path) can't be written") }
    for finding in findings where finding.error == nil {
      let why = finding.discarded.first ?? "nothing was tried"
      notice("warning: \(finding.family.rawValue) keeps its untuned kernels: \(why)")
    }
    return try store.stored(for: device)
  }
}
