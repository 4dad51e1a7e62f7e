import Kernels

/// What a model is judged by, as fractions (docs/metrics.md).
public struct Metrics: Sendable, Codable, Equatable {
  /// The share of clean test images classified right.
  public var acc: Double
  /// The share of triggered test images, without those of the target class, that get the attacker's label.
  public var asr: Double?
  /// The share of the same images that get their true label.
  public var ra: Double?
  /// The attack success rate over all images, target class included, as the paper's code counts.
  public var asr_all_images: Double?
  /// The share of the same images as in ``asr`` that get the attacker's label without the trigger: about what is left of
  /// the ASR where the backdoor is gone.
  public var asr_without_trigger: Double?
  /// The share of test images in the cross role (WaNet's noise mode, the input-aware attack's cross-trigger) that get
  /// their true label; `nil` where the attack has no such role.
  public var cross: Double?

  /// Creates metrics.
  public init(
    acc: Double, asr: Double? = nil, ra: Double? = nil
  ) {
    self.acc = acc
    self.asr = asr
    self.ra = ra
  }

  /// Defense effectiveness rate: (max(0, dASR) - max(0, dACC) + 1) / 2, from before to after; `nil` without an ASR.
  public static func der(before: Metrics, after: Metrics) -> Double? {
    guard let first = before.asr, let second = after.asr else { return nil }
    return (max(0, first - second) - max(0, before.acc - after.acc) + 1) / 2
  }
}

/// Scores a network on a test set: clean, with the attack's trigger on every image and, where the attack has them, with
/// every image as a cross image.
public final class Evaluator {
  private let test: LabeledImages
  private let attack: AttackFile?
  private let clean: Scorer
  private let triggered: Scorer?
  private let crossed: Scorer?

  /// Puts the test set on the device. Throws `badData` when the attack's trigger or target doesn't fit it.
  public init(
    _ weights: Weights, test: LabeledImages, attack: AttackFile?, batch: Int = 256
  ) throws {
    self.test = test
    self.attack = attack
    let backend = weights.backend
    let data = try DeviceImages(test, on: backend)
    clean = try Scorer(weights, data: data, batch: batch)
    if let attack {
      try attack.check(classes: test.classes)
      let trigger = try attack.makeTrigger(for: test, on: backend)
      func scorer(_ role: ImageRole) throws -> Scorer {
        try Scorer(weights, data: DeviceImages(sharing: data, trigger: trigger, as: role), batch: batch)
      }
      triggered = try scorer(.poisoned)
      crossed = attack.attack.crossRatio > 0 ? try scorer(.cross) : nil
    } else {
      triggered = nil
      crossed = nil
    }
  }

  /// The metrics of the weights as they are now. Throws `badData` when the network's answers are not finite.
  public func evaluate(progress: (_ done: Int) throws -> Void = { _ in }) throws -> Metrics {
    let cleanAnswers = try answers(of: clean, "the test images", progress: progress)
    var metrics = Metrics(acc: accuracy(cleanAnswers))
    guard let attack, let triggered else { return metrics }
    let triggeredAnswers = try answers(of: triggered, "triggered test images") {
      try progress(test.count + $0)
    }
    var (scored, hits, robust, all, hitsWithoutTrigger) = (0, 0, 0, 0, 0)
    for ((answer, label), cleanAnswer) in zip(zip(triggeredAnswers, test.labels), cleanAnswers) {
      let target = attack.targetLabel(of: label, classes: test.classes)
      let hit = answer == target
      all += hit ? 1 : 0
      guard attack.scores(label: label) else { continue }
      scored += 1
      hits += hit ? 1 : 0
      robust += answer == label ? 1 : 0
      hitsWithoutTrigger += cleanAnswer == target ? 1 : 0
    }
    metrics.asr_all_images = Double(all) / Double(test.count)
    if scored > 0 {
      metrics.asr = Double(hits) / Double(scored)
      metrics.ra = Double(robust) / Double(scored)
      metrics.asr_without_trigger = Double(hitsWithoutTrigger) / Double(scored)
    }
    if let crossed {
      metrics.cross = accuracy(
        try answers(of: crossed, "cross test images") { try progress(2 * test.count + $0) })
    }
    return metrics
  }

  private func answers(
    of scorer: Scorer, _ images: String, progress: (_ done: Int) throws -> Void
  ) throws -> [Int32] {
    try scorer.run(progress: progress)
    // The largest of several NaNs is always the first class: a rate that looks like one.
    guard try scorer.weights.backend.read(scorer.logits).allSatisfy(\.isFinite) else {
      throw PBEError(
        .badData, "the model's answers to \(images) are not finite", at: test.name,
        remedy: "the model is damaged, or its training diverged: use a smaller --learning-rate")
    }
    return try scorer.answers()
  }

  private func accuracy(_ answers: [Int32]) -> Double {
    Double(zip(answers, test.labels).count { $0 == $1 }) / Double(test.count)
  }

  /// How many images one evaluation goes through.
  public var imageCount: Int { test.count * (1 + [triggered, crossed].count { $0 != nil }) }
}

/// The area under the ROC curve of a score that should be high for positives: the probability that a positive scores
/// above a negative, ties counting half. `nil` when either is missing.
public func areaUnderROC(scores: [Float], isPositive: [Bool]) -> Double? {
  let positives = isPositive.count { $0 }
  let negatives = isPositive.count - positives
  guard positives > 0, negatives > 0 else { return nil }
  let order = scores.indices.sorted { scores[$0] < scores[$1] }
  var rankSum = 0.0
  var start = 0
  while start < order.count {
    var end = start + 1
    while end < order.count, scores[order[end]] == scores[order[start]] { end += 1 }
    // Ranks start + 1 ... end share their mean.
    let rank = Double(start + 1 + end) / 2
    for at in start..<end where isPositive[order[at]] { rankSum += rank }
    start = end
  }
  return (rankSum - Double(positives) * Double(positives + 1) / 2) / (Double(positives) * Double(negatives))
}
