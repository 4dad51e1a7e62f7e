import Foundation

/// A model's metrics as a record holds them, as far as they are there.
struct Rates: Sendable, Equatable {
  var acc: Double?, asr: Double?, ra: Double?, asrAllImages: Double?, asrWithoutTrigger: Double?,
    cross: Double?

  /// `nil` where the record has no accuracy.
  init?(_ json: StrictJSON?) {
    guard let json, json["acc"]?.number != nil else { return nil }
    acc = json["acc"]?.number
    asr = json["asr"]?.number
    ra = json["ra"]?.number
    asrAllImages = json["asr_all_images"]?.number
    asrWithoutTrigger = json["asr_without_trigger"]?.number
    cross = json["cross"]?.number
  }

  /// A fraction in per cent with two decimals, or a dash.
  static func percent(_ fraction: Double?) -> String {
    fraction.map { String(format: "%.2f", 100 * $0) } ?? "-"
  }

  /// The metrics that any of `stages` has, with their names.
  static func present(in stages: [Rates]) -> [(name: String, value: @Sendable (Rates) -> Double?)] {
    let all: [(String, @Sendable (Rates) -> Double?)] = [
      ("ASR", { $0.asr }), ("ACC", { $0.acc }), ("RA", { $0.ra }),
      ("ASR (all images)", { $0.asrAllImages }), ("ASR (no trigger)", { $0.asrWithoutTrigger }),
      ("cross", { $0.cross }),
    ]
    return all.filter { metric in stages.contains { metric.1($0) != nil } }
  }
}

extension RunFolder {
  /// The metrics that the run began with.
  var before: Rates? { kind == .infection ? nil : Rates(record?["before"]) }

  /// The metrics that it ended with.
  var after: Rates? { Rates(record?[kind == .infection ? "metrics" : "after"]) }

  /// Seconds of all parts of the run.
  var seconds: Double? { (record?["seconds"] ?? unfinished?.progress["seconds"])?.number }

  /// The model after each stage that was measured, with the stage's name.
  var stages: [(name: String, rates: Rates)] {
    if kind == .infection {
      return epochs.compactMap { epoch in
        Rates(epoch["metrics"]).map { (epoch["epoch"]?.words ?? "?", $0) }
      }
    }
    var stages: [(String, Rates)] = []
    if let before { stages.append(("before", before)) }
    let measured =
      record != nil
      ? steps.map { ($0.number, $0.report["metrics"]) } : journal("metrics").enumerated().map { ($0 + 1, $1) }
    for (step, metrics) in measured {
      if let rates = Rates(metrics) { stages.append(("step \(step)", rates)) }
    }
    if let after, after != stages.last?.1 || stages.count < 2 { stages.append(("after", after)) }
    if let relapse = Rates(record?["relapse"]) { stages.append(("relapse", relapse)) }
    return stages
  }

  /// What was recorded of the epochs of an infection.
  var epochs: [StrictJSON] { (record ?? unfinished?.progress)?["history"]?.elements ?? [] }

  /// An erasing's steps by their numbers, from 1 on: not all recipes have all of them.
  var steps: [(number: Int, report: StrictJSON)] {
    (record?["steps"]?.elements ?? []).enumerated().map { index, report in
      ((report["step"]?.number.flatMap { Int(exactly: $0) } ?? index) + 1, report)
    }
  }

  /// The mean loss of each epoch, and in an erasing the number of the step that it was of.
  var losses: [(step: Int, loss: Double)] {
    if kind == .infection { return epochs.compactMap { $0["loss"]?.number }.map { (1, $0) } }
    guard record != nil else { return journal("epoch").compactMap { $0["loss"]?.number }.map { (1, $0) } }
    return steps.flatMap { step, report in (report["losses"]?.numbers ?? []).map { (step, $0) } }
  }

  /// The journal's entries of one kind, in a checkpoint of an erasing (``DefenseSession``).
  private func journal(_ name: String) -> [StrictJSON] {
    (unfinished?.progress["entries"]?.elements ?? []).compactMap { $0[name]?["_0"] }
  }
}
