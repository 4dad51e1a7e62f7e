import Kernels

/// Trains a network for many epochs, measures it on the way, and keeps a checkpoint from which an interrupted run goes on
/// as if nothing had happened.
public final class TrainingRun {
  /// What one epoch did.
  public struct Epoch: Sendable, Codable, Equatable {
    /// From 1.
    public var epoch: Int
    /// The mean loss, before each update.
    public var loss: Double
    /// The share of right answers on the training images, before each update.
    public var accuracy: Double
    /// The model after it on the test set, when it was measured.
    public var metrics: Metrics?
  }

  /// A finished epoch with its speed, for the log.
  public struct Report {
    /// What it did.
    public var epoch: Epoch
    /// Training images per second, in this epoch; `nil` when another process trained it.
    public var imagesPerSecond: Double?
    /// The time that the rest will take.
    public var secondsLeft: Double
  }

  /// When to stop before the last epoch: as soon as both are reached.
  public struct Goal: Sendable {
    /// The accuracy, a fraction.
    public var acc: Double
    /// The attack success rate, a fraction; 0 for a clean model.
    public var asr: Double

    /// Creates a goal.
    public init(acc: Double, asr: Double = 0) {
      self.acc = acc
      self.asr = asr
    }
  }

  /// What the run calls while it works; each may throw to stop it.
  public struct Observer {
    /// What is being done, and the share of the whole run that is done.
    public var progress: (_ what: String, _ share: Double) throws -> Void
    /// The network's metrics as it is.
    public var evaluate: (_ what: String, _ share: Double) throws -> Metrics
    /// After each epoch.
    public var finished: (Report) throws -> Void
    /// Lines for the log from what comes before the first epoch.
    public var prepared: (_ line: String) -> Void
    /// After each checkpoint.
    public var saved: () -> Void

    /// Creates an observer.
    public init(
      progress: @escaping (String, Double) throws -> Void,
      evaluate: @escaping (String, Double) throws -> Metrics, finished: @escaping (Report) throws -> Void,
      prepared: @escaping (String) -> Void = { _ in }, saved: @escaping () -> Void = {}
    ) {
      self.progress = progress
      self.evaluate = evaluate
      self.finished = finished
      self.prepared = prepared
      self.saved = saved
    }
  }

  private struct Progress: Codable {
    var position = Trainer.Position()
    var history: [Epoch] = []
    var seconds = 0.0
  }

  private let trainer: any EpochTrainer
  private let images: Int
  private let epochs: Int
  private let evaluateEvery: Int
  private let goal: Goal?
  private let file: String
  private let identity: RunIdentity
  private var done = Progress()
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private var startShare = 0.0

  /// What each epoch did so far.
  public var history: [Epoch] { done.history }
  /// Seconds so far, measurements and earlier parts of the run included.
  public var seconds: Double { done.seconds + (clock.now - start).seconds }

  /// Creates a run.
  ///
  /// - Parameters:
  ///   - images: how many images the data set has; all are trained on.
  ///   - evaluateEvery: measure after every so many epochs; 0 for the last one only.
  ///   - checkpoint: the checkpoint's file.
  public init(
    _ trainer: any EpochTrainer, images: Int, epochs: Int, evaluateEvery: Int = 1, goal: Goal? = nil,
    checkpoint: String, identity: RunIdentity
  ) {
    self.trainer = trainer
    self.images = images
    self.epochs = epochs
    self.evaluateEvery = evaluateEvery
    self.goal = goal
    file = checkpoint
    self.identity = identity
    start = clock.now
  }

  /// Goes on from the checkpoint, if there is one. Throws as ``RunCheckpoint/read(_:identity:)`` does.
  ///
  /// - Returns: the device that it was written on; `nil` when there is none.
  public func resume() throws -> String? {
    guard let checkpoint = try RunCheckpoint.read(file, identity: identity) else { return nil }
    let found = try checkpoint.progress(as: Progress.self)
    guard found.history.count == Int(found.position.epochs), found.history.count <= epochs,
      (0...images).contains(found.position.stepsOfEpoch), found.seconds.isFinite
    else { throw RunCheckpoint.wrongPosition(file) }
    try trainer.restore(from: checkpoint, as: "model", at: found.position)
    done = found
    startShare = share(Double(seenOfEpoch) / Double(images))
    return checkpoint.device
  }

  /// Trains until the last epoch or the goal, and leaves a checkpoint after each epoch and when an observer throws
  /// `interrupted`. Throws what the observer throws, `badData` when the training diverges, and as ``AtomicFile`` does.
  public func run(_ observer: Observer) throws {
    start = clock.now
    do {
      try loop(observer)
    } catch let error as PBEError where error.kind == .interrupted {
      try save()
      observer.saved()
      throw error
    }
  }

  private func loop(_ observer: Observer) throws {
    try trainer.prepare(
      progress: observer.progress,
      reached: { line in
        try save()
        observer.saved()
        observer.prepared(line)
      })
    // What came before the first epoch tells nothing about how long an epoch takes.
    let prepared = clock.now
    func finish(imagesPerSecond speed: Double?) throws {
      guard let epoch = history.last else { return }
      let (spent, done) = ((clock.now - prepared).seconds, share(0) - startShare)
      let left = isFinished || done <= 0 ? 0 : spent * (1 - share(0)) / done
      try observer.finished(Report(epoch: epoch, imagesPerSecond: speed, secondsLeft: left))
    }
    // What an interruption may have left to do for the last epoch.
    if try measure(observer) { try finish(imagesPerSecond: nil) }
    while !isFinished {
      let speed = try train(observer)
      try save()
      observer.saved()
      try measure(observer)
      try finish(imagesPerSecond: speed)
    }
  }

  /// The next epoch, or the rest of it; returns the number of images per second.
  private func train(_ observer: Observer) throws -> Double {
    let label = "epoch \(history.count + 1)/\(epochs)"
    let (begin, seen) = (clock.now, seenOfEpoch)
    let settings = trainer.settings
    let result = try trainer.epoch(
      count: images, share: share(0),
      learningRate: { step, steps in
        settings.schedule.rate(settings.learning_rate, share: share(Double(step) / Double(steps)))
      },
      progress: { try observer.progress(label, share(Double($0) / Double(images))) })
    done.history.append(
      Epoch(epoch: history.count + 1, loss: result.loss, accuracy: result.accuracy, metrics: nil))
    return Double(images - seen) / max((clock.now - begin).seconds, 1e-9)
  }

  /// Measures the last epoch, if that is still to be done; whether it was.
  @discardableResult private func measure(_ observer: Observer) throws -> Bool {
    guard let last = history.last, last.metrics == nil,
      last.epoch == epochs || evaluateEvery > 0 && last.epoch % evaluateEvery == 0
    else { return false }
    done.history[history.count - 1].metrics = try observer.evaluate(
      "epoch \(last.epoch)/\(epochs), testing", share(0))
    return true
  }

  private var isFinished: Bool {
    if history.count >= epochs { return true }
    guard let goal, let metrics = history.last?.metrics else { return false }
    return metrics.acc >= goal.acc && (metrics.asr ?? 1) >= goal.asr
  }

  /// The share of the run that is done, with `part` of the present epoch.
  private func share(_ part: Double) -> Double { (Double(history.count) + part) / Double(epochs) }

  /// Images of the present epoch that an earlier part of the run has trained on.
  private var seenOfEpoch: Int { min(images, trainer.position.stepsOfEpoch * trainer.settings.batch) }

  private func save() throws {
    let device = trainer.weights.backend.device
    var checkpoint = RunCheckpoint(identity, device: device.identifier, choices: device.choices)
    try trainer.save(to: &checkpoint, as: "model")
    var progress = done
    progress.position = trainer.position
    progress.seconds = seconds
    try checkpoint.setProgress(progress)
    try checkpoint.write(to: file)
  }
}
