import Kernels

/// Adversarial fine-tuning with pbe-gpu's own recipe: erases a backdoor with some clean images. In place of adversarial
/// examples, each for one image, it takes perturbations that are one for all images, as a trigger is.
///
/// - The teacher: the infected model, fine-tuned on the clean images nearly as ``CleanFineTuning/fineTuning`` does it: in
///   batches of a quarter with a quarter of the learning rate, and Nesterov's momentum.
/// - The witness: the teacher, shrunk until little of it is left (``Weights/shrink(keeping:seed:)``), learns again what it
///   knew from its own answers to them (``Distillation``). Answers to images without a trigger hardly tell what a trigger
///   does, but they cost accuracy, too.
/// - The repair: the teacher goes on learning its own answers to the images, and gives the same where half of them carry
///   perturbations that fool the infected model and not the witness (``UniversalPerturbations``). In the infected model a
///   trigger stands out most. There is no dropout: what the teacher answers is to be met, not guessed from less.
public struct AutomaticFineTuning: Sendable, Codable, Hashable {
  /// How it trains; learning rates and dropout are those of `learning_rates` and `dropout`.
  public var tuning: TrainingSettings
  /// Epochs of the teacher, the witness and the repair.
  public var epochs = [100, 60, 20]
  /// The learning rate that each of them begins with; it falls to zero along half a cosine.
  public var learning_rates: [Float] = [0.0025, 0.05, 0.005]
  /// Whether dropout acts in each of them.
  public var dropout = [true, true, false]
  /// What the witness keeps of the teacher's weights.
  public var keeping: Float = 0.45
  /// The temperature of the teacher's answers.
  public var temperature: Float = 4
  /// What the labels count beside the teacher's answers, 0 to 1.
  public var label_share: Float = 0.3
  /// The perturbations that the repair trains on.
  public var perturbations = UniversalPerturbations()

  /// The defaults.
  public init() {
    tuning = TrainingSettings()
    tuning.batch = 64
    tuning.nesterov = true
  }

  /// Images that a batch must have: the search deals each candidate some, and the repair puts every perturbation that is
  /// kept on some of the first half.
  private var fewestImages: Int {
    max(perturbations.candidates, 2 * perturbations.divisions.count * perturbations.count)
  }

  /// Throws `badData` when so many images, or the batches, are too few to look for perturbations.
  public func check(images: Int) throws {
    guard min(images, tuning.batch) >= fewestImages else {
      throw PBEError(
        .badData,
        "\(images) clean images in batches of \(tuning.batch) are too few: \(fewestImages) are needed at least",
        at: "--method aft", remedy: "give more of them, or --recipe paper")
    }
  }

  /// Purifies the session's model with `clean`, which has true labels. Throws as ``check(images:)``.
  public func run(_ session: DefenseSession, clean: DeviceImages) throws -> [StepReport] {
    try check(images: clean.count)
    session.plan(work: work(clean))
    let weights = session.weights
    let infected = try Weights(weights.graph, on: weights.backend)
    try infected.copy(from: weights)
    func remembered(_ name: String) throws -> Weights {
      let result = try Weights(weights.graph, on: weights.backend)
      try result.setValues(session.values(name) { try weights.values() }.numbers)
      return result
    }
    _ = try session.makeTrainer(clean, tuning(0))
    var steps = [try train(session, clean, step: 0, "teacher")]
    let teacher = Teacher(try remembered("teacher"), temperature: temperature, labelShare: label_share)

    try session.change { try weights.shrink(keeping: keeping, seed: tuning.seed) }
    _ = try session.makeTrainer(clean, tuning(1), teacher: teacher)
    steps.append(try train(session, clean, step: 1, "witness"))
    let witness = try remembered("witness")

    steps.append(try repair(session, clean, teacher, infected, witness))
    return steps
  }

  private func tuning(_ step: Int) -> TrainingSettings {
    var result = tuning
    result.dropout = dropout[step]
    return result
  }

  private func repair(
    _ session: DefenseSession, _ clean: DeviceImages, _ teacher: Teacher, _ infected: Weights,
    _ witness: Weights
  ) throws -> StepReport {
    let search = try UniversalSearch(
      infected, witness: witness, data: clean, tuning: tuning, settings: perturbations)
    try session.weights.backend.write(session.search(search), to: search.perturbations)
    try session.change { try session.weights.copy(from: teacher.weights) }
    _ = try session.makeTrainer(
      clean, tuning(2), teacher: teacher, perturbations: search.perturbations)
    return try train(session, clean, step: 2, "repair", isAdversarial: true)
  }

  private func train(
    _ session: DefenseSession, _ clean: DeviceImages, step: Int, _ name: String, isAdversarial: Bool = false
  ) throws -> StepReport {
    let all = Array(0..<clean.count)
    var report = StepReport(step: step, extraSet: all, truth: nil)
    try session.train(
      on: all, epochs: epochs[step], label: name, into: &report, isAdversarial: { _, _ in isAdversarial },
      rate: { Schedule.cosine.rate(learning_rates[step], share: $0) })
    report.adversarial_epochs = isAdversarial ? epochs[step] : 0
    report.metrics = try session.finish(step: step)
    return report
  }

  private func work(_ clean: DeviceImages) -> Double {
    let taught = 1 + DefenseSession.scoringCost
    let passes = zip(epochs, [1, taught, taught]).reduce(0) { $0 + Double($1.0) * $1.1 }
    let looking = perturbations.allSteps * min(tuning.batch, clean.count)
    return Double(clean.count) * passes + DefenseSession.searchCost * Double(looking)
  }
}
