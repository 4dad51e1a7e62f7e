import Kernels

/// Perturbations, each the same for all images, that change a model's answers and not those of another, its witness. Of an
/// infected model and one without the backdoor that knows the same, a trigger is such a perturbation.
public struct UniversalPerturbations: Sendable, Codable, Hashable {
  /// How many are looked for side by side, each from a random start of its own and on a part of each batch.
  public var count = 4
  /// The largest length (L2) of a perturbation, where pixels are in [0, 1].
  public var radius: Float = 3
  /// The length of a step.
  public var step: Float = 0.3
  /// Steps of gradient ascent, a batch each.
  public var steps = 120
  /// The length of a random start.
  public var start: Float = 1

  /// The defaults.
  public init() {}
}

/// Looks for universal perturbations by gradient ascent: normalised steps in the ball, up the mean over a batch of the
/// model's cross-entropy less the witness's.
final class UniversalSearch {
  /// float32 image (count, c, h, w): the perturbations, after ``run(progress:)``.
  let perturbations: Tensor
  private let backend: any Backend
  private let settings: UniversalPerturbations
  private let tuning: TrainingSettings
  private let data: DeviceImages
  private let batch: Int
  private let rows: Tensor
  private let totals: Tensor
  private let executable: any Executable

  /// Compiles the step. Throws `device` when there is not enough memory.
  ///
  /// - Parameters:
  ///   - data: images with their true labels, as they are or `tuning` augments them.
  ///   - tuning: the batch, the augmentation and the seed.
  init(
    _ model: Weights, witness: Weights, data: DeviceImages, tuning: TrainingSettings,
    settings: UniversalPerturbations
  ) throws {
    let backend = model.backend
    self.backend = backend
    self.settings = settings
    self.tuning = tuning
    self.data = data
    batch = min(tuning.batch, data.count)
    rows = try backend.makeTensor(Shape(data.count, 1), type: .int32)
    totals = try backend.makeTensor(.vector(2))
    let image = data.images.shape
    let shape = Shape(settings.count, image.c, image.h, image.w)
    perturbations = try backend.makeTensor(shape, role: .image)
    let centre = try backend.makeTensor([Float](repeating: 0, count: shape.count), shape: shape, role: .image)

    var program = Program()
    let loaded = try data.load(batch, rows: rows, augmentedBy: tuning, in: &program)
    let patterns = program.bind(perturbations)
    let mask = program.bind(try Self.wholeImages(shape, on: backend))
    let examples = program.temporary(program[loaded.images].shape)
    // Unclipped: a pixel at its limit would have no gradient.
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: loaded.images, pattern: patterns, mask: mask, output: examples, kind: .additive, clip: false)
      ))
    let gradient = program.temporary(shape)
    let unused = try backend.makeTensor(.vector(2))
    for (network, weight, sums) in [(model, Float(1), totals), (witness, -1, unused)] {
      let imageGradient = try Plans.inputGradient(
        network, mode: .evaluation, images: examples, labels: loaded.labels, samples: loaded.samples,
        totals: sums, weight: weight, in: &program)
      program.append(
        .applyTriggerGradient(
          ApplyTriggerGradient(
            outputGradient: imageGradient, mask: mask, patternGradient: gradient, accumulate: weight < 0)))
    }
    program.append(
      .pgdStep(
        PGDStep(
          adversarial: patterns, origin: program.bind(centre), gradient: gradient, stepSize: settings.step,
          epsilon: settings.radius, clip: false, norm: .two)))
    executable = try backend.compile([program])[0]
  }

  /// Ones for the mask of ``ApplyTrigger``: a perturbation covers its whole image.
  static func wholeImages(_ shape: Shape, on backend: any Backend) throws -> Tensor {
    let mask = Shape(shape.n, 1, shape.h, shape.w)
    return try backend.makeTensor([Float](repeating: 1, count: mask.count), shape: mask, role: .image)
  }

  /// The images of one search, as often as they are looked at.
  var imageCount: Int { settings.steps * batch }

  /// Looks for perturbations of the models as they are now. `progress` gets the number of images done; throwing stops.
  ///
  /// - Returns: the perturbations, and the share of images that the model answers as labelled with them.
  func run(
    progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> (perturbations: [Float], answered: Double) {
    let order = Permutation.of(
      data.count, seed: tuning.seed, purpose: RandomPurpose.universalSearch)
    try backend.write(order.map { Int32($0) }, to: rows)
    try backend.write(starts(), to: perturbations)
    let batches = data.count / batch
    let pass = min(settings.steps, batches)
    var pace = QueuePace(backend)
    for step in 0..<settings.steps {
      // The last pass tells how far the perturbations have come.
      if step == settings.steps - pass { try backend.write([Float(0), 0], to: totals) }
      try executable.run(
        RunParameters(
          rowOffset: Int32(step % batches * batch), epoch: UInt32(step / batches), step: UInt32(step + 1)))
      try pace.handedOut()
      try progress((step + 1) * batch)
    }
    return (
      try backend.read(perturbations), Double(try backend.read(totals)[1]) / Double(max(1, pass * batch))
    )
  }

  private func starts() -> [Float] {
    var stream = PhiloxStream(seed: tuning.seed, purpose: RandomPurpose.universalStart)
    return (0..<settings.count).flatMap { _ in
      let start = (0..<perturbations.shape.count / settings.count).map { _ in 2 * stream.nextUniform() - 1 }
      let length = start.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return start.map { $0 * settings.start / max(length, .leastNormalMagnitude) }
    }
  }
}
