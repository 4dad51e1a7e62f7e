/// What one progressive step of a defense did.
public struct StepReport: Sendable, Codable {
  /// The step, from 0.
  public var step: Int
  /// Images that the step fine-tuned on.
  public var extra_set_size: Int
  /// The share of them that carries the trigger, where that is known.
  public var extra_set_poisoned: Double?
  /// How many of them it taught another label than the training set's, where it does that.
  public var relabelled: Int?
  /// The mean loss of each epoch.
  public var losses: [Double] = []
  /// How many of the epochs were adversarial throughout.
  public var adversarial_epochs = 0
  /// The model after the step on the test set.
  public var metrics: Metrics?
  /// How well low agreement tells poisoned images from clean ones after the step, where the truth is known.
  public var agreement_auroc: Double?
  /// Which training images seem poisoned after the step.
  public var identification: Identification.Report?
  /// Seconds of fine-tuning, and of scoring the training set.
  public var training_seconds = 0.0, scoring_seconds = 0.0
  /// Images trained on per second.
  public var images_per_second = 0.0
  private var images = 0

  /// A step that fine-tunes on the images `extraSet`.
  init(step: Int, extraSet: [Int], truth: [ImageRole]?) {
    self.step = step
    extra_set_size = extraSet.count
    extra_set_poisoned = truth.map { truth in
      Double(extraSet.count { truth[$0] == .poisoned }) / Double(max(1, extraSet.count))
    }
  }

  private enum CodingKeys: String, CodingKey {
    case step, extra_set_size, extra_set_poisoned, relabelled, losses, adversarial_epochs, metrics
    case agreement_auroc, identification, training_seconds, scoring_seconds, images_per_second
  }

  /// Adds an epoch.
  mutating func add(_ epoch: DefenseSession.Epoch) {
    losses.append(epoch.loss)
    training_seconds += epoch.seconds
    images += epoch.images
    images_per_second = Double(images) / max(training_seconds, 1e-9)
  }
}

/// What is known of a purified model and of each training image when all is done.
public struct PurificationOutcome: Sendable {
  /// The steps.
  public var steps: [StepReport] = []
  /// The agreement of infected and purified model on each training image, after the last step.
  public var agreement: [Float] = []
  /// The steps whose extra set held each training image.
  public var kept: [[Int]]

  /// Which training images seem poisoned.
  public var identification: Identification?

  init(_ count: Int) { kept = Array(repeating: [], count: count) }
}

/// How a defense tells what it is doing, and is stopped.
public struct DefenseObserver {
  /// Called after each batch with a description and the share of the whole job that is done; throwing stops.
  public var progress: (_ what: String, _ share: Double) throws -> Void = { _, _ in }
  /// Called after each epoch, with a line for the log.
  public var log: (_ line: String) -> Void = { _ in }
  /// Called after each progressive step with the model as it is; returns its metrics, if they can be measured.
  public var finished: (_ step: Int) throws -> Metrics? = { _ in nil }

  /// Called after each checkpoint.
  public var saved: () -> Void = {}

  /// An observer that does nothing.
  public init() {}
}
