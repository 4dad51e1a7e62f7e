import Kernels

/// What a ``TrainingRun`` trains with: a network, epoch by epoch, from and to checkpoints.
public protocol EpochTrainer: AnyObject {
  /// The network.
  var weights: Weights { get }
  /// How it trains.
  var settings: TrainingSettings { get }
  /// How far it is.
  var position: Trainer.Position { get }

  /// What comes before the first epoch, or the rest of it; nothing, for most.
  ///
  /// - Parameters:
  ///   - progress: called after each step with what is being done and the share of it that is done; throwing stops.
  ///   - reached: called where a checkpoint is worth its while, with a line for the log.
  func prepare(
    progress: (_ what: String, _ share: Double) throws -> Void, reached: (_ line: String) throws -> Void)
    throws

  /// One pass over the `count` images of the data set, or the rest of one.
  ///
  /// - Parameters:
  ///   - share: how much of the run's epochs is done at the start of this one, from 0 to 1.
  ///   - learningRate: the learning rate for each step, by its number in the epoch and the number of steps.
  ///   - progress: called after each step with the number of images done; throwing stops.
  func epoch(
    count: Int, share: Double, learningRate: (_ step: Int, _ steps: Int) -> Float,
    progress: (_ done: Int) throws -> Void
  ) throws -> Trainer.Epoch

  /// Adds all state but the position to a checkpoint, under names that begin with `name`.
  func save(to checkpoint: inout RunCheckpoint, as name: String) throws
  /// Goes on from where ``save(to:as:)`` was called, at the position of then. Throws `badData` when the checkpoint does
  /// not fit.
  func restore(from checkpoint: RunCheckpoint, as name: String, at position: Trainer.Position) throws
}

extension EpochTrainer {
  public func prepare(
    progress: (_ what: String, _ share: Double) throws -> Void, reached: (_ line: String) throws -> Void
  ) throws {}
}

extension Trainer: EpochTrainer {
  public func epoch(
    count: Int, share: Double, learningRate: (_ step: Int, _ steps: Int) -> Float,
    progress: (_ done: Int) throws -> Void
  ) throws -> Epoch {
    try epoch(on: Array(0..<count), learningRate: learningRate, progress: progress)
  }
}
