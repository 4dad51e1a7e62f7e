import Kernels

/// Erases a backdoor with some clean images: the model is fine-tuned on them and then, shrunk
/// (``Weights/shrink(keeping:seed:)``), learns again what it knew from its own answers to them (``Distillation``). Answers
/// to images without a trigger don't tell what a trigger does.
public struct SelfDistillation: Sendable, Codable, Hashable {
  /// How the shrunk model learns.
  public var tuning: TrainingSettings
  /// Epochs of the shrunk model.
  public var epochs = 60
  /// Epochs of plain fine-tuning before, which make the teacher, and their learning rate.
  public var teacher_epochs = 10
  /// The learning rate of the teacher.
  public var teacher_learning_rate: Float = 0.01
  /// What the shrunk model keeps of the weights.
  public var keeping: Float = 0.45
  /// The temperature of the teacher's answers.
  public var temperature: Float = 4
  /// What the labels count, 0 to 1; the teacher counts the rest.
  public var label_share: Float = 0.3

  /// The defaults.
  public init() {
    tuning = TrainingSettings()
    tuning.batch = 64
    tuning.learning_rate = 0.05
    tuning.schedule = .cosine
    tuning.nesterov = true
  }

  /// Purifies the session's model with `clean`.
  public func run(_ session: DefenseSession, clean: DeviceImages) throws -> [StepReport] {
    session.plan(
      work: Double(clean.count)
        * (Double(teacher_epochs) + Double(epochs) * (1 + DefenseSession.scoringCost)))
    var teaching = tuning
    teaching.learning_rate = teacher_learning_rate
    _ = try session.makeTrainer(clean, teaching)
    var steps = [try train(session, clean, teaching, step: 0, "fine-tuning", epochs: teacher_epochs)]
    let weights = session.weights
    let teacher = try Weights(weights.graph, on: weights.backend)
    try teacher.setValues(session.values("teacher") { try weights.values() }.numbers)
    try session.change { try weights.shrink(keeping: keeping, seed: tuning.seed) }
    _ = try session.makeTrainer(
      clean, tuning, teacher: Teacher(teacher, temperature: temperature, labelShare: label_share))
    steps.append(try train(session, clean, tuning, step: 1, "distillation", epochs: epochs))
    return steps
  }

  private func train(
    _ session: DefenseSession, _ clean: DeviceImages, _ settings: TrainingSettings, step: Int,
    _ name: String, epochs: Int
  ) throws -> StepReport {
    let all = Array(0..<clean.count)
    var report = StepReport(step: step, extraSet: all, isPoisoned: nil)
    try session.train(
      on: all, epochs: epochs, label: name, into: &report,
      rate: { settings.schedule.rate(settings.learning_rate, share: $0) })
    report.metrics = try session.finish(step: step)
    return report
  }
}
