import Foundation

/// Runs epochs with a ``Trainer`` and reports their progress as a share of a whole job.
struct FineTuner {
  let trainer: Trainer
  let tuning: TrainingSettings
  let observer: DefenseObserver
  /// Images that the whole job trains on, adversarial ones counted as often as they cost.
  let work: Double
  private var done = 0.0

  init(
    _ weights: Weights, data: DeviceImages, tuning: TrainingSettings, observer: DefenseObserver, work: Double
  )
    throws
  {
    trainer = try Trainer(weights, data: data, settings: tuning)
    self.tuning = tuning
    self.observer = observer
    self.work = work
  }

  /// The share of the whole job that is done.
  var share: Double { done / work }

  /// Counts work that is not training.
  mutating func add(_ cost: Double) { done += cost }

  /// What an image costs, in units of a clean training image: a PGD step is about two thirds of a training step.
  static func cost(adversarial: Bool, _ tuning: TrainingSettings) -> Double {
    adversarial ? 1 + Double(tuning.attack.steps) * 2 / 3 : 1
  }

  /// One epoch on `indices`; `share` is how much of the schedule lies behind, and `epochShare` what it takes.
  mutating func epoch(
    on indices: [Int], adversarialBatches: Int, label: String, share: Double, epochShare: Double
  ) throws -> Trainer.Epoch {
    let start = done
    var cost = 0.0
    let batches = (indices.count + tuning.batch - 1) / tuning.batch
    var seen = 0
    let result = try trainer.epoch(
      on: indices, adversarialBatches: adversarialBatches,
      learningRate: { step, steps in
        tuning.schedule.rate(tuning.learning_rate, share: share + epochShare * Double(step) / Double(steps))
      },
      progress: { images in
        let adversarial = (seen + tuning.batch - 1) / tuning.batch < adversarialBatches
        cost += Double(images - seen) * Self.cost(adversarial: adversarial, tuning)
        seen = images
        try observer.progress(label, (start + cost) / work)
      })
    done = start + cost
    let kind =
      adversarialBatches >= batches ? "adversarial" : adversarialBatches > 0 ? "partly adversarial" : "clean"
    observer.log(
      "\(label), \(kind): loss \(String(format: "%.4f", result.loss)), "
        + "accuracy \(String(format: "%.2f", 100 * result.accuracy))%")
    return result
  }
}
