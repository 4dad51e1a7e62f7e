/// What one progressive step of a defense did.
public struct StepReport: Sendable, Codable {
  /// The step, from 0.
  public var step: Int
  /// Images that the step fine-tuned on.
  public var extra_set_size: Int
  /// The share of them that carries the trigger, where that is known.
  public var extra_set_poisoned: Double?
  /// The mean loss of each epoch.
  public var losses: [Double]
  /// How many of the epochs were adversarial throughout.
  public var adversarial_epochs: Int
  /// The model after the step on the test set.
  public var metrics: Metrics?
  /// How well low agreement tells poisoned images from clean ones after the step, where the truth is known.
  public var agreement_auroc: Double?
  /// Seconds of fine-tuning, and of scoring the training set.
  public var training_seconds: Double, scoring_seconds: Double
}

/// How a defense tells what it is doing, and is stopped.
public struct DefenseObserver {
  /// Called after each batch with a description and the share of the whole job that is done; throwing stops.
  public var progress: (_ what: String, _ share: Double) throws -> Void = { _, _ in }
  /// Called after each epoch, with a line for the log.
  public var log: (_ line: String) -> Void = { _ in }
  /// Called after each progressive step with the model as it is; returns its metrics, if they can be measured.
  public var finished: (_ step: Int) throws -> Metrics? = { _ in nil }

  /// An observer that does nothing.
  public init() {}
}
