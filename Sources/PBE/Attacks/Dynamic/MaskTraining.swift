import Kernels

/// The input-aware attack's first stage: the mask generator alone learns to give different images different, small masks
/// (METHOD, section 2.4).
final class MaskTraining {
  private let generators: Generators
  private let data: DeviceImages
  private let settings: TrainingSettings
  private let rows: Tensor
  private let diversity: Tensor, density: Tensor
  private let batch: Int
  private let step: any Executable
  /// Steps done.
  private(set) var steps: UInt32 = 0
  let optimizer: AdamOptimizer

  /// The weight of the mask's size beside that of diversity.
  static let densityWeight: Float = 100

  init(_ generators: Generators, data: DeviceImages, settings: TrainingSettings, diversityWeight: Float) throws {
    let backend = data.backend
    self.generators = generators
    self.data = data
    self.settings = settings
    batch = min(settings.batch, data.count)
    rows = try backend.makeTensor(Shape(data.count, 1), type: .int32)
    diversity = try backend.makeTensor(.vector(1))
    density = try backend.makeTensor(.vector(1))
    optimizer = try AdamOptimizer(generators.mask, beta1: 0.5, beta2: 0.9)

    var program = Program()
    let loaded = try data.load(batch, rows: rows, in: &program)
    let images =
      settings.augmentation?.apply(to: loaded.images, samples: loaded.samples, seed: settings.seed, in: &program)
      ?? loaded.images
    var mask = Lowering(generators.mask, mode: .training, batch: batch, program: program)
    let masks = try mask.forward(images)
    let gradient = GeneratorLosses.diversity(
      inputs: images, outputs: masks, total: diversity, weight: diversityWeight, in: &mask.program)
    try GeneratorLosses.density(
      of: masks, total: density, weight: Self.densityWeight, addingTo: gradient, on: backend, in: &mask.program)
    var backward = BackwardPass(mask, parameterGradients: optimizer.gradients, wantsInput: false)
    program = try backward.write(outputGradient: gradient).program
    optimizer.update(generators.mask, in: &program)
    step = try backend.compile([program])[0]
  }

  /// One pass over all images, but for a batch's rest.
  func epoch(_ epoch: UInt32, learningRate: Float, progress: (_ share: Double) throws -> Void) throws
    -> DynamicTrainer.MaskEpoch
  {
    let backend = data.backend
    let order = Permutation.of(
      data.count, seed: settings.seed, purpose: RandomPurpose.shuffle, epoch: epoch)
    try backend.write(order.map { Int32($0) }, to: rows)
    for total in [diversity, density] { try backend.write([Float(0)], to: total) }
    let count = data.count / batch
    var pace = QueuePace(backend)
    for index in 0..<count {
      steps += 1
      try step.run(
        RunParameters(
          rowOffset: Int32(index * batch), epoch: epoch, step: steps, learningRate: learningRate))
      try pace.handedOut()
      try progress(Double(index + 1) / Double(count))
    }
    let (diversity, density) = (try backend.read(diversity)[0], try backend.read(density)[0])
    guard diversity.isFinite, density.isFinite else {
      throw PBEError(
        .badData, "training of the mask generator diverged in epoch \(epoch + 1)", at: backend.device.identifier,
        remedy: "use another --seed")
    }
    return DynamicTrainer.MaskEpoch(
      diversity: Double(diversity) / Double(count), density: Double(density) / Double(count))
  }
}
