import Foundation

/// What AFT and PBE have in common: fine-tuning on adversarial examples first, on plain images after. The names and
/// defaults are those of METHOD, section 1.3; the defaults with the corrections of section 1.7.
public struct FineTuning: Sendable, Codable, Hashable {
  /// Images per step of SGD.
  public var batch = 128
  /// The learning rate of SGD.
  public var learning_rate: Float = 0.001
  /// How it changes.
  public var schedule = Schedule.constant
  /// The momentum of SGD.
  public var momentum: Float = 0.9
  /// The L2 penalty of SGD.
  public var weight_decay: Float = 5e-4
  /// How adversarial examples are made.
  public var attack = PGD()
  /// How images are augmented, before the attack; `nil` for not at all.
  public var augmentation: Augmentation?
  /// A new order of the extra set each epoch. The paper's PBE keeps the data set's order, which on data stored class
  /// by class gives batches of one class.
  public var shuffles = true
  /// The key of all random numbers.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  var settings: Trainer.Settings {
    var settings = Trainer.Settings()
    settings.batch = batch
    settings.augmentation = augmentation
    settings.attack = attack
    settings.momentum = momentum
    settings.weightDecay = weight_decay
    settings.seed = seed
    settings.shuffles = shuffles
    return settings
  }
}

/// Runs epochs with a ``Trainer`` and reports their progress as a share of a whole job.
struct FineTuner {
  let trainer: Trainer
  let tuning: FineTuning
  let observer: DefenseObserver
  /// Images that the whole job trains on, adversarial ones counted as often as they cost.
  let work: Double
  private var done = 0.0

  init(_ weights: Weights, data: DeviceImages, tuning: FineTuning, observer: DefenseObserver, work: Double)
    throws
  {
    trainer = try Trainer(weights, data: data, settings: tuning.settings)
    self.tuning = tuning
    self.observer = observer
    self.work = work
  }

  /// The share of the whole job that is done.
  var share: Double { done / work }

  /// Counts work that is not training.
  mutating func add(_ cost: Double) { done += cost }

  /// What an image costs, in units of a clean training image: a PGD step is about two thirds of a training step.
  static func cost(adversarial: Bool, _ tuning: FineTuning) -> Double {
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
