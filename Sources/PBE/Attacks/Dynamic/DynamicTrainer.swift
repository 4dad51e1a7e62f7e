import Foundation
import Kernels

/// Trains the input-aware attack: first its mask generator, then pattern generator and victim together ("Input-aware
/// dynamic backdoor attack", and its released code).
///
/// The official code never clears the pattern generator's gradients, so that each step follows the sum of all before it.
/// Here each step follows its own.
public final class DynamicTrainer: EpochTrainer {
  /// What one epoch of the first stage did.
  public struct MaskEpoch: Sendable {
    /// The mean diversity loss, before each update.
    public let diversity: Double
    /// How far the masks' elements are above 0.032, in the mean.
    public let density: Double
  }

  /// The generators.
  public let generators: Generators
  /// The victim.
  public let weights: Weights
  /// How the victim is trained; also the batches, the augmentation and the seed of both stages.
  public let settings: TrainingSettings
  /// How far it is. The steps are those of the present stage.
  public private(set) var position = Trainer.Position()
  private let maskEpochs: Int
  private let generatorRate: Float
  private let data: DeviceImages
  let batches: RoleBatches
  private let diversityWeight: Float
  private let masks: MaskTraining
  private let optimizer: Optimizer
  let generatorOptimizer: AdamOptimizer
  let rows: Tensor, totals: Tensor, diversity: Tensor
  /// Forward, backward, the victim's update; then the generator's, whose learning rate is its own.
  private var stage: (step: any Executable, update: any Executable)?

  /// Creates a trainer. Throws `badData` when the poisoned set has too few images of a role, `device` when there is not
  /// enough memory.
  ///
  /// - Parameters:
  ///   - weights: the victim.
  ///   - training: the images.
  ///   - poison: their labels and roles.
  ///   - maskEpochs: epochs of the first stage.
  ///   - diversityWeight: the weight of the diversity loss, for images in [0, 1].
  ///   - generatorRate: the generators' learning rate, before it falls.
  public init(
    _ weights: Weights, generators: Generators, training: LabeledImages, poison: PoisonedSet,
    settings: TrainingSettings, maskEpochs: Int, diversityWeight: Float = Dynamic().diversity,
    generatorRate: Float = Dynamic().rate
  ) throws {
    let backend = weights.backend
    self.weights = weights
    self.generators = generators
    self.settings = settings
    self.maskEpochs = maskEpochs
    self.generatorRate = generatorRate
    self.diversityWeight = diversityWeight
    batches = try RoleBatches(poison.roles, batch: settings.batch, seed: settings.seed)
    data = try DeviceImages(training, on: backend, labels: poison.labels)
    masks = try MaskTraining(
      generators, data: data, settings: settings, diversityWeight: diversityWeight, rate: generatorRate)
    optimizer = try Optimizer(
      weights, momentum: settings.momentum, nesterov: settings.nesterov, weightDecay: settings.weight_decay)
    generatorOptimizer = try AdamOptimizer(generators.pattern, beta1: 0.5, beta2: 0.9)
    rows = try backend.makeTensor(Shape(batches.count * batches.batch, 1), type: .int32)
    totals = try backend.makeTensor(.vector(2))
    diversity = try backend.makeTensor(.vector(1))
  }

  /// The learning rate after some falls: with each a tenth of what it was.
  static func rate(_ rate: Float, falls: Int) -> Float { (0..<falls).reduce(rate) { rate, _ in rate / 10 } }

  /// One epoch of the first stage, or the rest of one. The learning rate falls after 40% and after 80% of the stage.
  ///
  /// - Parameter progress: called after each step with the share of the epoch that is done; throwing stops.
  func maskEpoch(progress: (_ share: Double) throws -> Void = { _ in }) throws -> MaskEpoch {
    let result = try masks.epoch(of: maskEpochs, at: &position, progress: progress)
    if position.prepared >= maskEpochs {
      position.steps = 0
      masks.finish()
    }
    return result
  }

  public func prepare(
    progress: (_ what: String, _ share: Double) throws -> Void, reached: (_ line: String) throws -> Void
  ) throws {
    while position.prepared < maskEpochs {
      let done = Double(position.prepared)
      let label = "mask epoch \(position.prepared + 1)/\(maskEpochs)"
      let result = try maskEpoch { try progress(label, (done + $0) / Double(maskEpochs)) }
      try reached(
        "\(label): diversity loss \(Self.rounded(result.diversity)), excess of the mask "
          + Self.rounded(result.density))
    }
  }

  private static func rounded(_ number: Double) -> String { String(format: "%.4f", number) }

  /// One epoch of the second stage, or the rest of one. The generator's learning rate falls after a third, a half, two
  /// thirds and five sixths of the run, as in the official code's 600 epochs. Of `count` images as many are taken as make
  /// whole batches.
  ///
  /// Returns the victim's mean loss and accuracy on the treated images, before each update. Throws `badData` when the loss
  /// is not finite.
  public func epoch(
    count: Int, share: Double, learningRate: (_ step: Int, _ steps: Int) -> Float,
    progress: (_ done: Int) throws -> Void
  ) throws -> Trainer.Epoch {
    let stage = try self.stage ?? compile()
    self.stage = stage
    let backend = weights.backend
    // Both stages' epochs count, so that no random number is drawn twice.
    let epoch = UInt32(maskEpochs) + position.epochs
    try backend.write(batches.order(epoch: epoch), to: rows)
    if position.stepsOfEpoch == 0 {
      try backend.write([Float(0), 0], to: totals)
      try backend.write([Float(0)], to: diversity)
    }
    let generatorRate = Self.rate(generatorRate, falls: [2.0, 3, 4, 5].count { share >= $0 / 6 })
    var pace = QueuePace(backend)
    while position.stepsOfEpoch < batches.count {
      let step = position.stepsOfEpoch
      position.steps &+= 1
      position.stepsOfEpoch += 1
      var parameters = RunParameters(
        rowOffset: Int32(step * batches.batch), epoch: epoch, step: position.steps,
        learningRate: learningRate(step, batches.count))
      try stage.step.run(parameters)
      parameters.learningRate = generatorRate
      try stage.update.run(parameters)
      try pace.handedOut()
      try progress((step + 1) * batches.batch)
    }
    position.epochs += 1
    position.stepsOfEpoch = 0
    let sums = try backend.read(totals)
    guard sums[0].isFinite, try backend.read(diversity)[0].isFinite else {
      throw PBEError(
        .badData, "training diverged: the loss is not finite after epoch \(position.epochs)",
        at: backend.device.identifier, remedy: "use a smaller --learning-rate")
    }
    let images = batches.count * batches.batch
    return Trainer.Epoch(
      loss: Double(sums[0]) / Double(images), accuracy: Double(sums[1]) / Double(images), images: images)
  }

  private func compile() throws -> (step: any Executable, update: any Executable) {
    var update = Program()
    generatorOptimizer.update(generators.pattern, in: &update)
    let compiled = try weights.backend.compile([stepProgram(), update])
    return (compiled[0], compiled[1])
  }

  /// One step but for the generator's update: load, make patterns and masks, put them on, train the victim, and the generator's gradients.
  func stepProgram() throws -> Program {
    let backend = weights.backend
    var program = Program()
    let loaded = try load(batches.batch, in: &program)
    // The same rows with the same random numbers: the same images again.
    let inputs = try load(batches.patterns, in: &program).images
    var generator = Lowering(
      generators.pattern, mode: .training, batch: batches.patterns, program: program)
    let patterns = try generator.forward(inputs)
    // The first stage is over: the mask generator stays as it is.
    var frozen = Lowering(
      generators.mask, mode: .evaluation, batch: batches.patterns, program: generator.program)
    let masks = try frozen.forward(inputs)

    var victim = Lowering(
      weights, mode: .training, batch: batches.batch, program: frozen.program, samples: loaded.samples,
      seed: settings.seed)
    let flags = victim.program.bind(
      try backend.makeTensor(batches.flags, shape: Shape(batches.batch, 1)))
    let treated = victim.program.temporary(victim.program[loaded.images].shape)
    victim.program.append(
      .applyTrigger(
        ApplyTrigger(
          input: loaded.images, pattern: patterns, mask: masks, flags: flags, output: treated, kind: .blend,
          clip: false)))
    let logitsGradient = try Plans.loss(&victim, images: treated, labels: loaded.labels, totals: totals)
    var backward = BackwardPass(victim, parameterGradients: optimizer.gradients, wantsInput: true)
    let written = try backward.write(outputGradient: logitsGradient)
    guard let imageGradient = written.inputGradient else {
      throw PBEError(.internal, "the network does not depend on its input")
    }
    program = written.program
    optimizer.update(weights, in: &program)

    let gradient = GeneratorLosses.diversity(
      inputs: inputs, outputs: patterns, total: diversity, weight: diversityWeight, in: &program)
    program.append(
      .applyTriggerGradient(
        ApplyTriggerGradient(
          outputGradient: imageGradient, mask: masks, flags: flags, patternGradient: gradient,
          accumulate: true)))
    generator.program = program
    var generatorBackward = BackwardPass(
      generator, parameterGradients: generatorOptimizer.gradients, wantsInput: false)
    return try generatorBackward.write(outputGradient: gradient).program
  }

  /// The run's batch, or its first rows, augmented. Augmentation comes before this trigger: its gradient doesn't pass
  /// through the resampling.
  private func load(_ count: Int, in program: inout Program) throws -> DeviceImages.Batch {
    try data.load(count, rows: rows, augmentedBy: settings, in: &program)
  }

  // MARK: - Checkpoints

  public func save(to checkpoint: inout RunCheckpoint, as name: String) throws {
    let backend = weights.backend
    try checkpoint.save(weights, as: "\(name)/network")
    try checkpoint.save(optimizer.velocities, as: "\(name)/velocity", on: backend)
    try checkpoint.save(generators.pattern, as: "\(name)/pattern")
    try checkpoint.save(generators.mask, as: "\(name)/mask")
    try generatorOptimizer.save(to: &checkpoint, as: "\(name)/pattern-adam", on: backend)
    try masks.save(to: &checkpoint, as: "\(name)/mask-training")
    try checkpoint.save(["totals": totals, "diversity": diversity], as: name, on: backend)
  }

  public func restore(from checkpoint: RunCheckpoint, as name: String, at position: Trainer.Position) throws {
    let backend = weights.backend
    try checkpoint.restore(weights, from: "\(name)/network")
    try checkpoint.restore(optimizer.velocities, from: "\(name)/velocity", on: backend)
    try checkpoint.restore(generators.pattern, from: "\(name)/pattern")
    try checkpoint.restore(generators.mask, from: "\(name)/mask")
    try generatorOptimizer.restore(from: checkpoint, as: "\(name)/pattern-adam", on: backend)
    try masks.restore(from: checkpoint, as: "\(name)/mask-training")
    try checkpoint.restore(["totals": totals, "diversity": diversity], from: name, on: backend)
    self.position = position
  }
}
