import Kernels

/// Progressive backdoor erasing (PBE), algorithm 1 of the paper: erases a backdoor without clean data, from the
/// training set that planted it (METHOD, sections 1.2, 1.3 and 1.7).
///
/// Step 0 fine-tunes on adversarial examples of a random few of the training images. Then the partly purified model's
/// agreement with the infected one tells clean images from poisoned ones: the next step's extra set are the images
/// with the highest agreement, and so on.
public struct ProgressiveErasing: Sendable, Codable, Hashable {
  /// How it fine-tunes.
  public var tuning = TrainingSettings()
  /// The share of the training set that step 0 draws at random.
  public var initial_fraction = 0.05
  /// The share of the training set, by highest agreement, that each later step takes.
  public var keep_rates = [0.2, 0.5, 0.7]
  /// Epochs of each step. In step 0 all are adversarial; in later steps all but the first batches are clean.
  public var epochs_per_step = 10
  /// Adversarial batches at the beginning of each later step.
  public var adversarial_batches = 31

  /// The defaults.
  public init() {}

  /// What is known of each training image when all is done.
  public struct Outcome: Sendable {
    /// The steps.
    public var steps: [StepReport]
    /// The agreement of infected and purified model on each training image, after the last step.
    public var agreement: [Float]
    /// The steps whose extra set held each training image.
    public var kept: [[Int]]
  }

  /// Purifies `weights` in place.
  ///
  /// - Parameters:
  ///   - training: the training set that the model was infected by.
  ///   - isPoisoned: the truth, for the report only; `nil` where nobody knows.
  public func run(
    _ weights: Weights, training: DeviceImages, isPoisoned: [Bool]?, observer: DefenseObserver
  ) throws -> Outcome {
    let count = training.count
    let clock = ContinuousClock()
    let sizes = [initial_fraction] + keep_rates
    let extraSizes = sizes.map { max(1, min(count, Int($0 * Double(count)))) }
    let adversarialCost = FineTuner.cost(adversarial: true, tuning)
    // A scored image is a forward pass: a third of a training image.
    let scoring = Double(count) / 3
    let work =
      scoring * Double(sizes.count + 1)
      + extraSizes.enumerated().reduce(0.0) { sum, step in
        let (index, size) = (step.offset, Double(step.element))
        let adversarial =
          index == 0
          ? size * Double(epochs_per_step) : min(size, Double(adversarial_batches) * Double(tuning.batch))
        return sum + size * Double(epochs_per_step) + adversarial * (adversarialCost - 1)
      }

    // The infected model's logits, once; the same scorer then follows the weights as they are purified.
    let before = try Scorer(weights, data: training)
    let after = try Scorer(weights, data: training)
    let agreementPlan = try AgreementPlan(before.logits, after.logits, on: weights.backend)
    try before.run { try observer.progress("scoring the training set", Double($0) / 3 / work) }

    var tuner = try FineTuner(weights, data: training, tuning: tuning, observer: observer, work: work)
    tuner.add(scoring)
    var outcome = Outcome(steps: [], agreement: [], kept: Array(repeating: [], count: count))
    var extra = Array(
      Permutation.of(count, seed: tuning.seed, purpose: RandomPurpose.extraSet).prefix(extraSizes[0]))
    for step in sizes.indices {
      for index in extra { outcome.kept[index].append(step) }
      let start = clock.now
      var losses: [Double] = []
      for epoch in 0..<epochs_per_step {
        let adversarial = step == 0 ? Int.max : epoch == 0 ? adversarial_batches : 0
        let passed = Double(step * epochs_per_step + epoch)
        let total = Double(sizes.count * epochs_per_step)
        losses.append(
          try tuner.epoch(
            on: extra.sorted(), adversarialBatches: adversarial,
            label: "step \(step + 1)/\(sizes.count), epoch \(epoch + 1)/\(epochs_per_step)",
            share: passed / total, epochShare: 1 / total
          ).loss)
      }
      try weights.backend.synchronize()
      let trained = clock.now
      try after.run { _ in try observer.progress("scoring the training set", min(1, tuner.share)) }
      tuner.add(scoring)
      outcome.agreement = try agreementPlan.run()
      let scored = clock.now
      outcome.steps.append(
        StepReport(
          step: step, extra_set_size: extra.count,
          extra_set_poisoned: isPoisoned.map { truth in
            Double(extra.count { truth[$0] }) / Double(extra.count)
          },
          losses: losses, adversarial_epochs: step == 0 ? epochs_per_step : 0,
          metrics: try observer.finished(step),
          agreement_auroc: isPoisoned.flatMap { truth in
            areaUnderROC(scores: outcome.agreement.map { -$0 }, isPositive: truth)
          },
          training_seconds: (trained - start).seconds, scoring_seconds: (scored - trained).seconds))
      if step + 1 < sizes.count {
        extra = Self.mostAgreeing(outcome.agreement, count: extraSizes[step + 1])
      }
    }
    return outcome
  }

  /// The images with the highest agreement; of equals, those that come first.
  static func mostAgreeing(_ agreement: [Float], count: Int) -> [Int] {
    Array(
      agreement.indices.sorted { (agreement[$0], $1) > (agreement[$1], $0) }.prefix(count))
  }
}
