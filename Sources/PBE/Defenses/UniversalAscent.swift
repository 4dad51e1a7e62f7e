import Kernels

/// The images that a search for universal perturbations looks at, batch by batch in a random order.
struct UniversalBatches {
  let data: DeviceImages
  let tuning: TrainingSettings
  /// Images per batch.
  let batch: Int
  /// Whole batches.
  let count: Int
  /// int32: the order.
  let rows: Tensor

  init(_ data: DeviceImages, _ tuning: TrainingSettings) throws {
    self.data = data
    self.tuning = tuning
    batch = min(tuning.batch, data.count)
    count = data.count / batch
    let order = Permutation.of(data.count, seed: tuning.seed, purpose: RandomPurpose.universalSearch)
    rows = try data.backend.makeTensor(order.map { Int32($0) }, shape: Shape(data.count, 1))
  }

  /// A batch with perturbations on it, where their masks are 1. Unclipped: a pixel at its limit would have no gradient.
  func load(
    perturbedBy patterns: Tensor, masks: Tensor, in program: inout Program
  ) throws -> (examples: Value, labels: Value, samples: Value, patterns: Value, mask: Value) {
    let loaded = try data.load(batch, rows: rows, augmentedBy: tuning, in: &program)
    let (bound, mask) = (program.bind(patterns), program.bind(masks))
    let examples = program.temporary(program[loaded.images].shape)
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: loaded.images, pattern: bound, mask: mask, output: examples, kind: .additive, clip: false)))
    return (examples, loaded.labels, loaded.samples, bound, mask)
  }

  /// What the step of a number is run with.
  func parameters(_ step: Int) -> RunParameters {
    RunParameters(rowOffset: Int32(step % count * batch), epoch: UInt32(step / count), step: UInt32(step + 1))
  }
}

/// Gradient ascent for some perturbations side by side: normalised steps in the ball, up the mean over a batch of the
/// model's cross-entropy less the witness's.
final class UniversalAscent {
  /// float32 image (count, c, h, w).
  let perturbations: Tensor
  let images: UniversalBatches
  private let masks: Tensor
  private let totals: Tensor
  private let executable: any Executable

  init(
    _ model: Weights, _ witness: Weights, _ images: UniversalBatches, _ settings: UniversalPerturbations,
    count: Int
  ) throws {
    let backend = model.backend
    self.images = images
    let image = images.data.images.shape
    let shape = Shape(count, image.c, image.h, image.w)
    perturbations = try backend.makeTensor(shape, role: .image)
    masks = try backend.makeTensor(Shape(count, 1, image.h, image.w), role: .image)
    totals = try backend.makeTensor(.vector(2))
    let centre = try backend.makeTensor([Float](repeating: 0, count: shape.count), shape: shape, role: .image)
    var program = Program()
    let loaded = try images.load(perturbedBy: perturbations, masks: masks, in: &program)
    let gradient = program.temporary(shape)
    let unused = try backend.makeTensor(.vector(2))
    for (network, weight, sums) in [(model, Float(1), totals), (witness, -1, unused)] {
      let imageGradient = try Plans.inputGradient(
        network, mode: .evaluation, images: loaded.examples, labels: loaded.labels, samples: loaded.samples,
        totals: sums, weight: weight, in: &program)
      program.append(
        .applyTriggerGradient(
          ApplyTriggerGradient(
            outputGradient: imageGradient, mask: loaded.mask, patternGradient: gradient,
            accumulate: weight < 0)))
    }
    program.append(
      .pgdStep(
        PGDStep(
          adversarial: loaded.patterns, origin: program.bind(centre), gradient: gradient,
          stepSize: settings.step,
          epsilon: settings.radius, clip: false, norm: .two)))
    executable = try backend.compile([program])[0]
  }

  /// Ascends from `starts`. `progress` gets the number of images done; throwing stops.
  ///
  /// - Returns: what the starts have become, and the share of images that the model answers as labelled with them, in the
  ///   last pass.
  func run(
    from starts: [UniversalPerturbation], steps: Int, progress: (_ done: Int) throws -> Void
  ) throws -> (found: [UniversalPerturbation], answered: Double) {
    let backend = images.data.backend
    try backend.write(starts.flatMap(\.values), to: perturbations)
    try backend.write(starts.flatMap(\.mask), to: masks)
    let pass = min(steps, images.count)
    var pace = QueuePace(backend)
    for step in 0..<steps {
      if step == steps - pass { try backend.write([Float(0), 0], to: totals) }
      try executable.run(images.parameters(step))
      try pace.handedOut()
      try progress((step + 1) * images.batch)
    }
    let values: [Float] = try backend.read(perturbations)
    let size = values.count / starts.count
    let found = starts.enumerated().map { number, start in
      var start = start
      start.values = Array(values[number * size..<(number + 1) * size])
      return start
    }
    return (
      found,
      Double(try backend.read(totals)[1]) / Double(max(1, pass * images.batch))
    )
  }
}

/// Measures how much one perturbation fools a model and not its witness.
final class UniversalContrast {
  /// The images that are enough to tell perturbations apart.
  private static let enough = 512
  private let images: UniversalBatches
  private let perturbation: Tensor
  private let totals: [Tensor]
  private let executable: any Executable

  init(_ model: Weights, _ witness: Weights, _ images: UniversalBatches) throws {
    let backend = model.backend
    self.images = images
    let image = images.data.images.shape
    perturbation = try backend.makeTensor(Shape(1, image.c, image.h, image.w), role: .image)
    totals = try (0..<2).map { _ in try backend.makeTensor(.vector(2)) }
    var program = Program()
    let masks = try UniversalSearch.wholeImages(perturbation.shape, on: backend)
    let loaded = try images.load(perturbedBy: perturbation, masks: masks, in: &program)
    for (network, sums) in zip([model, witness], totals) {
      var lowering = Lowering(
        network, mode: .evaluation, batch: images.batch, program: program, samples: loaded.samples,
        updatesStatistics: false)
      _ = try Plans.loss(&lowering, images: loaded.examples, labels: loaded.labels, totals: sums)
      program = lowering.program
    }
    executable = try backend.compile([program])[0]
  }

  /// The model's mean cross-entropy less the witness's, on some images with `perturbation`.
  func measure(_ numbers: [Float]) throws -> Double {
    let backend = images.data.backend
    try backend.write(numbers, to: perturbation)
    for sums in totals { try backend.write([Float(0), 0], to: sums) }
    let batches = min(images.count, max(1, Self.enough / images.batch))
    for step in 0..<batches { try executable.run(images.parameters(step)) }
    let sums = try totals.map { Double(try backend.read($0)[0]) }
    return (sums[0] - sums[1]) / Double(batches * images.batch)
  }
}
