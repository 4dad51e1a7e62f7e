import Foundation
import Kernels

/// What a defense works in: the model, and a journal of the long pieces of work that are done.
///
/// A defense is plain code: epochs, scores, and decisions between them. After an interruption it runs again from its first
/// line; what the journal holds is not computed but remembered, and at the journal's end the model and the optimizer
/// become what they were. So a resumed defense equals one that was never interrupted, provided that its decisions depend
/// on what the session gave it and on nothing else.
public final class DefenseSession {
  /// What one epoch did.
  public struct Epoch: Sendable, Codable, Equatable {
    /// The mean loss, before each update.
    public var loss: Double
    /// The share of right answers, before each update.
    public var accuracy: Double
    /// Images trained on.
    public var images: Int
    /// Seconds that it took.
    public var seconds: Double
  }

  private enum Entry: Codable {
    case epoch(Epoch)
    case values(name: String, seconds: Double)
    case metrics(Metrics?)
    case change
  }

  private struct Progress: Codable {
    var entries: [Entry] = []
    var position = Trainer.Position()
    /// How many trainers there have been; the last one's optimizer is in the checkpoint.
    var trainers = 0
    var seconds = 0.0
    /// Of them, those of the epoch that has begun.
    var secondsOfEpoch: Double?
  }

  /// The model: the infected one at first.
  public let weights: Weights
  let observer: DefenseObserver
  private let file: String?
  private let identity: RunIdentity?
  private var journal = Progress()
  /// How many of the journal's entries the defense has been through.
  private var passed = 0
  /// Numbers that the journal's entries name.
  private var remembered: [String: [Float]] = [:]
  /// What the model becomes at the journal's end.
  private var checkpoint: RunCheckpoint?
  private var trainer: Trainer?
  private var trainers = 0
  private var position = Trainer.Position()
  private var work = 1.0
  private var done = 0.0
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant

  /// A session without a checkpoint, or with one at `file`, which must not be there yet, or belong to `identity`.
  public init(
    _ weights: Weights, observer: DefenseObserver, checkpoint file: String? = nil,
    identity: RunIdentity? = nil
  ) {
    self.weights = weights
    self.observer = observer
    self.file = file
    self.identity = identity
    start = clock.now
  }

  /// Goes on from the checkpoint, if there is one. Throws as ``RunCheckpoint/read(_:identity:)`` does.
  ///
  /// - Returns: the device that it was written on; `nil` when there is none.
  public func resume() throws -> String? {
    guard let file, let identity, let found = try RunCheckpoint.read(file, identity: identity) else {
      return nil
    }
    journal = try found.progress(as: Progress.self)
    let epochs = journal.entries.count { if case .epoch = $0 { true } else { false } }
    guard journal.position.epochs == epochs, journal.position.stepsOfEpoch >= 0,
      journal.position.steps <= Int32.max, journal.seconds.isFinite
    else { throw RunCheckpoint.wrongPosition(file) }
    for case .values(let name, _) in journal.entries {
      remembered[name] = try found.numbers(named: "values/\(name)")
    }
    checkpoint = found
    return found.device
  }

  /// Seconds so far, earlier parts of the run included.
  public var seconds: Double { journal.seconds + (clock.now - start).seconds }

  // MARK: - Work

  /// Says how much work there will be, in training images; what adversarial ones and scored ones count is in
  /// ``cost(adversarial:_:)`` and ``scoringCost``.
  func plan(work: Double) { self.work = max(1, work) }

  /// What an image costs, in units of a plain training image, PGD's examples being adversarial ones: a PGD step is about two
  /// thirds of a training step.
  static func cost(adversarial: Bool, _ settings: TrainingSettings) -> Double {
    (settings.sam_radius > 0 ? 2 : 1) + (adversarial ? Double(settings.attack.steps) * 2 / 3 : 0)
  }

  /// A scored image is a forward pass.
  static let scoringCost = 1.0 / 3

  /// Scores the infected model, or within ``values(_:scored:_:)`` the model as it is then: each costs its time again when a
  /// run goes on.
  func score(_ scorer: Scorer) throws {
    try scorer.run { try report("scoring the training set", Self.scoringCost * Double($0)) }
    done += Self.scoringCost * Double(scorer.logits.shape.n)
  }

  private func report(_ what: String, _ cost: Double) throws {
    try observer.progress(what, min(1, (done + cost) / work))
  }

  // MARK: - Training

  /// A trainer of the model, with an optimizer at rest. The session trains with the last one made.
  func makeTrainer(
    _ data: DeviceImages, _ settings: TrainingSettings, masks: [WeightMask] = [], teacher: Teacher? = nil,
    perturbations: Tensor? = nil
  ) throws -> Trainer {
    let trainer = try Trainer(
      weights, data: data, settings: settings, masks: masks, teacher: teacher, perturbations: perturbations)
    self.trainer = trainer
    trainers += 1
    return trainer
  }

  /// Epochs on `indices` with the last trainer, added to `report`.
  ///
  /// - Parameters:
  ///   - label: what is being done, for the log; `nil` where there is nothing but these epochs.
  ///   - isAdversarial: which steps of which epoch train on adversarial examples.
  ///   - rate: the learning rate by the share of all these epochs that is done.
  func train(
    on indices: [Int], epochs: Int, label: String? = nil, into report: inout StepReport,
    isAdversarial: (_ epoch: Int, _ step: Int) -> Bool = { _, _ in false }, rate: (_ share: Double) -> Float
  ) throws {
    for epoch in 0..<epochs {
      report.add(
        try self.epoch(
          on: indices, label: (label.map { "\($0), " } ?? "") + "epoch \(epoch + 1)/\(epochs)",
          isAdversarial: { isAdversarial(epoch, $0) },
          rate: { rate((Double(epoch) + $0) / Double(epochs)) }))
    }
  }

  /// One epoch on `indices` with the last trainer.
  ///
  /// - Parameters:
  ///   - label: what is being done, for the log.
  ///   - isAdversarial: which steps train on adversarial examples.
  ///   - rate: the learning rate by the share of the epoch that is done.
  func epoch(
    on indices: [Int], label: String, isAdversarial: (_ step: Int) -> Bool = { _ in false },
    rate: (_ share: Double) -> Float
  ) throws -> Epoch {
    guard let trainer else { throw PBEError(.internal, "a defense trains without a trainer") }
    guard !indices.isEmpty else {
      throw PBEError(
        .badData,
        "there is no image to fine-tune on: the model answers none as it is labelled, or all seem poisoned",
        at: label, remedy: "check that the model belongs to these images, or use more of them")
    }
    let settings = trainer.settings
    let steps = (indices.count + settings.batch - 1) / settings.batch
    func cost(_ step: Int) -> Double {
      Double(min(settings.batch, indices.count - step * settings.batch))
        * (Self.cost(adversarial: isAdversarial(step) && trainer.usesPGD, settings)
          + (trainer.isTaught ? Self.scoringCost : 0))
    }
    defer { done += (0..<steps).reduce(0) { $0 + cost($1) } }
    if let epoch = try next({ if case .epoch(let epoch) = $0 { epoch } else { nil } }) {
      position.epochs += 1
      position.steps += UInt32(steps)
      return epoch
    }
    guard position.stepsOfEpoch <= steps else { throw RunCheckpoint.wrongPosition(file) }
    trainer.position = position
    let (begin, before) = (clock.now, journal.secondsOfEpoch ?? 0)
    // A run that goes on has done some of the epoch.
    var sum = (0..<position.stepsOfEpoch).reduce(0) { $0 + cost($1) }
    let result: Trainer.Epoch
    do {
      result = try trainer.epoch(
        on: indices, isAdversarial: { step, _ in isAdversarial(step) },
        learningRate: { step, steps in rate(Double(step) / Double(steps)) },
        progress: { _ in
          sum += cost(trainer.position.stepsOfEpoch - 1)
          try report(label, sum)
        })
    } catch let error as PBEError where error.kind == .interrupted {
      position = trainer.position
      journal.secondsOfEpoch = before + (clock.now - begin).seconds
      try save()
      throw error
    }
    position = trainer.position
    journal.secondsOfEpoch = nil
    let epoch = Epoch(
      loss: result.loss, accuracy: result.accuracy, images: result.images,
      seconds: before + (clock.now - begin).seconds)
    note(.epoch(epoch))
    try save()
    let adversarial = (0..<steps).count(where: isAdversarial)
    let kind = adversarial == steps ? "adversarial" : adversarial > 0 ? "partly adversarial" : "clean"
    observer.log(
      "\(label), \(kind): loss \(String(format: "%.4f", epoch.loss)), "
        + "accuracy \(String(format: "%.2f", 100 * epoch.accuracy))%")
    return epoch
  }

  // MARK: - Numbers

  /// Numbers that decisions are made on, under a name of their own, and the seconds that they took. `scored` is the number of
  /// images that computing them scores.
  func values(
    _ name: String, scored: Int = 0, _ compute: () throws -> [Float]
  ) throws -> (numbers: [Float], seconds: Double) {
    let taken = try next { if case .values(name, let seconds) = $0 { seconds } else { nil } }
    if let taken, let numbers = remembered[name] {
      done += Self.scoringCost * Double(scored)
      return (numbers, taken)
    }
    let begin = clock.now
    let numbers = try compute()
    let seconds = (clock.now - begin).seconds
    remembered[name] = numbers
    note(.values(name: name, seconds: seconds))
    return (numbers, seconds)
  }

  /// What an image of a search costs: a PGD step of two models.
  static let searchCost = 4.0 / 3

  /// The universal perturbations that a search finds.
  func search(_ search: UniversalSearch) throws -> [Float] {
    let scored = Int((Double(search.imageCount) * Self.searchCost / Self.scoringCost).rounded())
    return try values("perturbations", scored: scored) {
      let (perturbations, answered) = try search.run {
        try report("looking for universal perturbations", Self.searchCost * Double($0))
      }
      done += Self.searchCost * Double(search.imageCount)
      observer.log(
        "universal perturbations found: with them the infected model answers \(String(format: "%.2f", 100 * answered))% "
          + "of the clean images as labelled")
      return perturbations
    }.numbers
  }

  /// Changes the model otherwise than by training.
  func change(_ body: () throws -> Void) throws {
    if try next({ if case .change = $0 { true } else { nil } }) != nil { return }
    try body()
    note(.change)
    try save()
  }

  /// Ends a progressive step: its model is saved and, where that is possible, measured.
  func finish(step: Int) throws -> Metrics? {
    if let metrics = try next({ if case .metrics(let metrics) = $0 { .some(metrics) } else { nil } }) {
      return metrics
    }
    let metrics = try observer.finished(step)
    note(.metrics(metrics))
    try save()
    return metrics
  }

  // MARK: - The journal

  /// What the next entry of the journal says; `nil` at its end, where the model becomes what it was when the checkpoint was
  /// written. Throws `badData` when the entry is none of the kind: then another decision was made than now, as another
  /// device's rounding can bring about.
  private func next<Value>(_ read: (Entry) -> Value?) throws -> Value? {
    guard passed < journal.entries.count else {
      try restore()
      return nil
    }
    guard let value = read(journal.entries[passed]) else {
      throw PBEError(
        .badData, "the run that left the checkpoint decided otherwise than this one", at: file,
        remedy: "go on with the device and the version that wrote it, or delete the file to start over")
    }
    passed += 1
    return value
  }

  /// Ends the defense: its model is what it was at the journal's end, also where the journal had all of it and nothing was
  /// left to do.
  public func settle() throws {
    guard passed == journal.entries.count else {
      throw PBEError(
        .badData, "the checkpoint has more than this run does", at: file,
        remedy: "delete the file to start over")
    }
    try restore()
  }

  private func restore() throws {
    guard let checkpoint else { return }
    self.checkpoint = nil
    if let trainer, trainers == journal.trainers {
      try trainer.restore(from: checkpoint, as: "model", at: journal.position)
      position = journal.position
    } else {
      try checkpoint.restore(weights, from: "model/network")
    }
  }

  private func note(_ entry: Entry) {
    journal.entries.append(entry)
    passed = journal.entries.count
  }

  private func save() throws {
    guard let file, let identity else { return }
    let device = weights.backend.device
    var checkpoint = RunCheckpoint(identity, device: device.identifier, choices: device.choices)
    if let trainer {
      try trainer.save(to: &checkpoint, as: "model")
    } else {
      try checkpoint.save(weights, as: "model/network")
    }
    for (name, numbers) in remembered { checkpoint.save(numbers, as: "values/\(name)") }
    var progress = journal
    progress.position = position
    progress.trainers = trainers
    progress.seconds = seconds
    try checkpoint.setProgress(progress)
    try checkpoint.write(to: file)
    observer.saved()
  }
}
