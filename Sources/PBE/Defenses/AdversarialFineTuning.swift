import Kernels

/// Adversarial fine-tuning (AFT): erases a backdoor with a clean extra set, first on untargeted adversarial examples,
/// then on plain images (METHOD, sections 1.1, 1.4 and 1.7).
public struct AdversarialFineTuning: Sendable, Codable, Hashable {
  /// How it fine-tunes.
  public var tuning = TrainingSettings()
  /// All epochs.
  public var epochs = 20
  /// The first of them, which train on adversarial examples.
  public var adversarial_epochs = 3

  /// The defaults.
  public init() {}

  /// Fine-tunes `weights` in place on `clean`.
  public func run(_ weights: Weights, clean: DeviceImages, observer: DefenseObserver) throws -> [StepReport] {
    let all = Array(0..<clean.count)
    let adversarial = min(adversarial_epochs, epochs)
    let work =
      Double(clean.count)
      * (Double(adversarial) * FineTuner.cost(adversarial: true, tuning) + Double(epochs - adversarial))
    var tuner = try FineTuner(weights, data: clean, tuning: tuning, observer: observer, work: work)
    var losses: [Double] = []
    let clock = ContinuousClock()
    let start = clock.now
    for epoch in 0..<epochs {
      losses.append(
        try tuner.epoch(
          on: all, adversarialBatches: epoch < adversarial ? .max : 0, label: "epoch \(epoch + 1)/\(epochs)",
          share: Double(epoch) / Double(epochs), epochShare: 1 / Double(epochs)
        ).loss)
    }
    try weights.backend.synchronize()
    let seconds = (clock.now - start).seconds
    return [
      StepReport(
        step: 0, extra_set_size: clean.count, extra_set_poisoned: nil, losses: losses,
        adversarial_epochs: adversarial, metrics: try observer.finished(0), agreement_auroc: nil,
        training_seconds: seconds, scoring_seconds: 0)
    ]
  }
}
