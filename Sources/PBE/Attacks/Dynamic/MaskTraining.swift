import Kernels

/// The input-aware attack's first stage: the mask generator alone learns to give different images different, small masks ("Input-aware
/// dynamic backdoor attack", section 3, and its released code).
final class MaskTraining {
  private let generators: Generators
  private let data: DeviceImages
  private let settings: TrainingSettings
  private let diversityWeight: Float
  private let rate: Float
  private let rows: Tensor
  private let diversity: Tensor, density: Tensor
  private let optimizer: AdamOptimizer
  private let batch: Int
  private var step: (any Executable)?

  /// The weight of the mask's size beside that of diversity.
  static let densityWeight: Float = 100

  init(
    _ generators: Generators, data: DeviceImages, settings: TrainingSettings, diversityWeight: Float,
    rate: Float
  ) throws {
    let backend = data.backend
    self.generators = generators
    self.data = data
    self.settings = settings
    self.diversityWeight = diversityWeight
    self.rate = rate
    batch = min(settings.batch, data.count)
    rows = try backend.makeTensor(Shape(data.count, 1), type: .int32)
    diversity = try backend.makeTensor(.vector(1))
    density = try backend.makeTensor(.vector(1))
    optimizer = try AdamOptimizer(generators.mask, beta1: 0.5, beta2: 0.9)
  }

  private func compile() throws -> any Executable {
    var program = Program()
    let images = try data.load(batch, rows: rows, augmentedBy: settings, in: &program).images
    var mask = Lowering(generators.mask, mode: .training, batch: batch, program: program)
    let masks = try mask.forward(images)
    let gradient = GeneratorLosses.diversity(
      inputs: images, outputs: masks, total: diversity, weight: diversityWeight, in: &mask.program)
    try GeneratorLosses.density(
      of: masks, total: density, weight: Self.densityWeight, addingTo: gradient, on: data.backend,
      in: &mask.program)
    var backward = BackwardPass(mask, parameterGradients: optimizer.gradients, wantsInput: false)
    program = try backward.write(outputGradient: gradient).program
    optimizer.update(generators.mask, in: &program)
    return try data.backend.compile([program])[0]
  }

  /// One pass over all images but for a batch's rest, or the rest of a pass that was restored. `position.prepared` tells
  /// which of `count` it is.
  func epoch(
    of count: Int, at position: inout Trainer.Position, progress: (_ share: Double) throws -> Void
  ) throws -> DynamicTrainer.MaskEpoch {
    let backend = data.backend
    let step = try self.step ?? compile()
    self.step = step
    let order = Permutation.of(
      data.count, seed: settings.seed, purpose: RandomPurpose.shuffle, epoch: position.prepared)
    try backend.write(order.map { Int32($0) }, to: rows)
    if position.stepsOfEpoch == 0 {
      for total in [diversity, density] { try backend.write([Float(0)], to: total) }
    }
    let falls = [0.4, 0.8].count { Double(position.prepared) >= $0 * Double(count) }
    let batches = data.count / batch
    var pace = QueuePace(backend)
    while position.stepsOfEpoch < batches {
      let first = position.stepsOfEpoch * batch
      position.steps &+= 1
      position.stepsOfEpoch += 1
      try step.run(
        RunParameters(
          rowOffset: Int32(first), epoch: position.prepared, step: position.steps,
          learningRate: DynamicTrainer.rate(rate, falls: falls)))
      try pace.handedOut()
      try progress(Double(position.stepsOfEpoch) / Double(batches))
    }
    position.prepared += 1
    position.stepsOfEpoch = 0
    let result = DynamicTrainer.MaskEpoch(
      diversity: Double(try backend.read(diversity)[0]) / Double(batches),
      density: Double(try backend.read(density)[0]) / Double(batches))
    guard result.diversity.isFinite, result.density.isFinite else {
      throw PBEError(
        .badData, "training of the mask generator diverged in epoch \(position.prepared)",
        at: backend.device.identifier, remedy: "use another --seed")
    }
    return result
  }

  /// Gives the memory of the activations back.
  func finish() { step = nil }

  func save(to checkpoint: inout RunCheckpoint, as name: String) throws {
    try optimizer.save(to: &checkpoint, as: name, on: data.backend)
    try checkpoint.save(["diversity": diversity, "density": density], as: name, on: data.backend)
  }

  func restore(from checkpoint: RunCheckpoint, as name: String) throws {
    try optimizer.restore(from: checkpoint, as: name, on: data.backend)
    try checkpoint.restore(["diversity": diversity, "density": density], from: name, on: data.backend)
  }
}
