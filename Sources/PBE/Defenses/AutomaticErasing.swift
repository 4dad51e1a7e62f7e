import Foundation
import Kernels

/// Progressive erasing with pbe-gpu's own recipe: like ``ProgressiveErasing`` it needs no clean data, and each step's
/// better model finds the poison better; unlike it, it uses the poison that it has found.
///
/// - Step 0 fine-tunes, partly on adversarial examples, on images that the infected model answers as they are labelled,
///   but not firmly: a trigger makes answers firm. Of each label it takes as many: the attacker's has too many images.
/// - Each later step asks ``Identification`` for the images with a trigger, gives them the answers of the purified model
///   so far as labels, and fine-tunes on all images but those of them that it answers as they were labelled. Images with the
///   trigger and many labels teach that it means nothing.
public struct AutomaticErasing: Sendable, Codable, Hashable {
  /// How it fine-tunes; the learning rates are those of `learning_rates`.
  public var tuning: TrainingSettings
  /// Step 0 takes the images between these shares of those of each label, by increasing margin of the infected model.
  public var band = [0.05, 0.35]
  /// In step 0 one batch in so many is adversarial.
  public var adversarial_every = 3
  /// Epochs of each step.
  public var epochs = [2, 2, 3]
  /// The learning rate that each step begins with; it falls to a fifth of it along half a cosine, in the last step to zero.
  public var learning_rates: [Float] = [0.05, 0.05, 0.03]

  /// Parts that are left out, to see what they are worth.
  public var without: [Part] = []

  /// A part of the recipe that can be left out.
  public enum Part: String, Sendable, Codable, CaseIterable {
    /// The adversarial batches of step 0: all are plain.
    case adversarial
    /// The choice of unfirm answers in step 0: as many images at random.
    case band
    /// ``TriggerMixture``: only those images of suspected labels are suggested that the models dispute.
    case mixture
    /// New labels for suggested images: they are left out.
    case relabelling
    /// The second identification: the last step uses that of the first.
    case repetition
  }

  /// The defaults.
  public init() {
    tuning = TrainingSettings()
    tuning.nesterov = true
  }

  /// Purifies the session's model.
  ///
  /// - Parameters:
  ///   - training: the training set that the model was infected by.
  ///   - labels: its labels.
  ///   - isPoisoned: the truth, for the report only; `nil` where nobody knows.
  public func run(
    _ session: DefenseSession, training: DeviceImages, labels: [Int32], isPoisoned: [Bool]?
  ) throws -> PurificationOutcome {
    let count = training.count
    session.plan(work: work(count))
    var assessment = try TrainingSetAssessment(
      session, training: training, labels: labels, isPoisoned: isPoisoned)
    let margins = Answers(assessment.infected, labels: labels).margins
    var (extra, taught) = (Self.unfirm(margins, labels: labels, band), labels)
    if without.contains(.band) {
      extra = Permutation.of(count, seed: tuning.seed, purpose: RandomPurpose.extraSet).prefix(extra.count)
        .sorted()
    }
    for step in epochs.indices {
      var report = assessment.begin(step: step, extraSet: extra, taught: taught)
      _ = try session.makeTrainer(DeviceImages(sharing: training, labels: taught), tuning)
      for epoch in 0..<epochs[step] {
        report.add(
          try session.epoch(
            on: extra, label: "step \(step + 1)/\(epochs.count), epoch \(epoch + 1)/\(epochs[step])",
            isAdversarial: { step == 0 && adversarialPeriod > 0 && $0 % adversarialPeriod == 0 },
            rate: { rate(step, share: (Double(epoch) + $0) / Double(epochs[step])) }))
      }
      let found = try assessment.finish(report, usesMixture: !without.contains(.mixture))
      if step > 0 && without.contains(.repetition) { continue }
      taught = labels.indices.map { found.suggested[$0] ? found.answers[$0] : labels[$0] }
      // Where the purified model still answers as the attacker wants, nobody knows a better label.
      extra = labels.indices.filter { index in
        !found.suggested[index] || taught[index] != labels[index] && !without.contains(.relabelling)
      }
    }
    return assessment.outcome
  }

  /// Images that are answered rightly, but not firmly: of each label those within `band`, as shares of the right ones in
  /// order of their margins, but of none more than that share of the labels' mean. An attacker's label has too many.
  static func unfirm(_ margins: [Float], labels: [Int32], _ band: [Double]) -> [Int] {
    let right = labels.indices.filter { margins[$0] > 0 }
    let byLabel = Dictionary(grouping: right) { labels[$0] }
    let most = (band[1] - band[0]) * Double(right.count) / Double(max(1, byLabel.count))
    return byLabel.values.flatMap { images -> ArraySlice<Int> in
      let order = images.sorted { (margins[$0], $0) < (margins[$1], $1) }
      let (low, high) = (band[0] * Double(order.count), band[1] * Double(order.count))
      let slice = order[Int(low)..<max(Int(low), min(order.count, Int(high.rounded(.up))))]
      return slice.prefix(Int(most.rounded(.up)))
    }.sorted()
  }

  private var adversarialPeriod: Int { without.contains(.adversarial) ? 0 : adversarial_every }

  private func rate(_ step: Int, share: Double) -> Float {
    let (top, end) = (learning_rates[step], step + 1 == epochs.count ? 0 : learning_rates[step] / 5)
    return end + (top - end) * Float(0.5 * (1 + cos(share * Double.pi)))
  }

  private func work(_ count: Int) -> Double {
    let first = (band[1] - band[0]) * Double(count * epochs[0])
    let adversarial = adversarialPeriod > 0 ? first / Double(adversarialPeriod) : 0
    return Double(count) * DefenseSession.scoringCost * Double(epochs.count + 1) + first
      + adversarial * (DefenseSession.cost(adversarial: true, tuning) - 1)
      + Double(count * epochs.dropFirst().reduce(0, +))
  }
}
