import Kernels

/// Progressive backdoor erasing (PBE), algorithm 1 of Mu et al., CVPR 2023: erases a backdoor without clean data, from the
/// training set that planted it. Numbers are those of the released code.
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

  /// Purifies the session's model.
  ///
  /// - Parameters:
  ///   - training: the training set that the model was infected by.
  ///   - labels: its labels.
  ///   - truth: what each image is, for the report only; `nil` where nobody knows.
  public func run(
    _ session: DefenseSession, training: DeviceImages, labels: [Int32], truth: [ImageRole]?
  ) throws -> PurificationOutcome {
    let count = training.count
    let sizes = [initial_fraction] + keep_rates
    let extraSizes = sizes.map { max(1, min(count, Int($0 * Double(count)))) }
    session.plan(work: work(extraSizes, count))

    var assessment = try TrainingSetAssessment(
      session, training: training, labels: labels, truth: truth)
    _ = try session.makeTrainer(training, tuning)
    var extra = Array(
      Permutation.of(count, seed: tuning.seed, purpose: RandomPurpose.extraSet).prefix(extraSizes[0]))
    for step in sizes.indices {
      var report = assessment.begin(step: step, extraSet: extra)
      let batches = (extra.count + tuning.batch - 1) / tuning.batch
      func isAdversarial(_ epoch: Int, _ batch: Int) -> Bool {
        step == 0 || epoch == 0 && batch < adversarial_batches
      }
      try session.train(
        on: extra.sorted(), epochs: epochs_per_step, label: "step \(step + 1)/\(sizes.count)", into: &report,
        isAdversarial: isAdversarial,
        rate: {
          tuning.schedule.rate(tuning.learning_rate, share: (Double(step) + $0) / Double(sizes.count))
        })
      report.adversarial_epochs = (0..<epochs_per_step).count { epoch in
        (0..<batches).allSatisfy { isAdversarial(epoch, $0) }
      }
      _ = try assessment.finish(report)
      if step + 1 < sizes.count {
        extra = Self.mostAgreeing(assessment.outcome.agreement, count: extraSizes[step + 1])
      }
    }
    return assessment.outcome
  }

  private func work(_ extraSizes: [Int], _ count: Int) -> Double {
    extraSizes.enumerated().reduce(Double(count * (extraSizes.count + 1)) * DefenseSession.scoringCost) {
      let (index, size) = ($1.offset, Double($1.element))
      let adversarial =
        index == 0
        ? size * Double(epochs_per_step) : min(size, Double(adversarial_batches) * Double(tuning.batch))
      return $0 + size * Double(epochs_per_step)
        + adversarial * (DefenseSession.cost(adversarial: true, tuning) - 1)
    }
  }

  /// The images with the highest agreement; of equals, those that come first.
  static func mostAgreeing(_ agreement: [Float], count: Int) -> [Int] {
    Array(
      agreement.indices.sorted { (agreement[$0], $1) > (agreement[$1], $0) }.prefix(count))
  }
}
