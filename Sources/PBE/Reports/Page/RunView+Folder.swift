import Foundation

extension RunView {
  /// What the page tells of a run. `id` is unique in the page, and begins those of its parts.
  init(_ run: RunFolder, id: String) {
    self.id = id
    let url = URL(fileURLWithPath: run.path).standardizedFileURL
    name = url.lastPathComponent
    kind =
      switch run.kind {
      case .infection: run.record?["poisoned"]?.number == 0 ? "Training of a clean model" : "Infection"
      case .erasing: "Erasing"
      case .inspection: "Inspection"
      case .unknown: "Model"
      }
    state =
      if run.kind == .unknown {
        "no record"
      } else if run.unfinished != nil {
        "not finished"
      } else if run.record == nil, run.kind != .inspection {
        "incomplete"
      } else {
        run.isWhole ? "finished" : "finished, with remarks"
      }
    stateClass = run.isWhole ? "whole" : "partial"
    problems = run.problems
    hasProblems = !problems.isEmpty
    headline = Self.headline(run)
    tiles = Self.tiles(run)
    let parts = SectionBuilder(run, id: id)
    sections = [
      parts.results, parts.identification, parts.behaviour, parts.pictures, parts.times, parts.settings,
    ].filter { !$0.isEmpty }
  }

  private static func headline(_ run: RunFolder) -> String {
    func points(_ value: Double?) -> String { "\(Rates.percent(value))%" }
    switch (run.before, run.after, run.kind) {
    case (_, let after?, .infection):
      guard let asr = after.asr else {
        return "The model classifies \(points(after.acc)) of the test images right."
      }
      return
        "The trigger gets the attacker's label for \(points(asr)) of the test images; without it the model "
        + "classifies \(points(after.acc)) right."
    case (let before?, let after?, _):
      let accuracy = "Accuracy: \(points(before.acc)) before, \(points(after.acc)) after."
      guard let first = before.asr, let last = after.asr else {
        return "The trigger was not known to the measurement: only the accuracy was measured. \(accuracy)"
      }
      let change =
        first == last
        ? "stayed at" : last < first ? "fell from \(points(first)) to" : "rose from \(points(first)) to"
      return "The trigger's success \(change) \(points(last)). \(accuracy)"
    case (_, _, .inspection): return run.verdict ?? "What the model answers to adversarial examples."
    default:
      guard run.unfinished != nil else { return "The result of this run can't be read." }
      let losses = run.losses
      let epochs = losses.count == 1 ? "one epoch is done" : "\(losses.count) epochs are done"
      let loss = losses.last.map { ", the last with a mean loss of \(String(format: "%.4f", $0.loss))" } ?? ""
      return "This run is not finished: \(epochs)\(loss)."
    }
  }

  private static func tiles(_ run: RunFolder) -> [TileView] {
    func tile(_ name: String, _ meaning: String, _ value: (Rates) -> Double?) -> TileView? {
      guard let after = run.after.flatMap(value) else { return nil }
      return TileView(
        name: name, meaning: meaning, before: run.before.flatMap(value).map { "\(Rates.percent($0))%" },
        after: "\(Rates.percent(after))%")
    }
    var tiles = [
      tile("ASR", "attack success rate") { $0.asr }, tile("ACC", "accuracy") { $0.acc },
      tile("RA", "robust accuracy") { $0.ra },
    ].compactMap { $0 }
    if let der = run.record?["der"]?.number {
      tiles.append(
        TileView(name: "DER", meaning: "defense effectiveness", before: nil, after: "\(Rates.percent(der))%"))
    }
    return tiles
  }
}
