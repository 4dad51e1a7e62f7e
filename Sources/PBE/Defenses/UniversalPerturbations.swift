import Kernels

/// Perturbations, each the same for all images, that change a model's answers and not those of another, its witness. Of an
/// infected model and one without the backdoor that knows the same, a trigger is such a perturbation.
public struct UniversalPerturbations: Sendable, Codable, Hashable {
  /// How many are looked for at first, side by side, each from a random start of its own and on a part of each batch.
  /// Few starts lead to a trigger; the others find what a model does not answer well anyhow, and fool it much less.
  public var candidates = 16
  /// How many of them are kept, those that fool the model most, and looked for further.
  public var count = 4
  /// The largest length (L2) of a perturbation, where pixels are in [0, 1].
  public var radius: Float = 3
  /// The length of a step.
  public var step: Float = 0.3
  /// Steps of gradient ascent, a batch each: of all candidates, and of those that are kept.
  public var steps = [60, 120]
  /// The length of a random start.
  public var start: Float = 1

  /// The defaults.
  public init() {}
}

/// Looks for universal perturbations: gradient ascent from many starts, and further from the best.
final class UniversalSearch {
  /// float32 image (count, c, h, w): the perturbations, after ``run(progress:)``.
  var perturbations: Tensor { last.perturbations }
  private let settings: UniversalPerturbations
  private let tuning: TrainingSettings
  private let first: UniversalAscent
  private let last: UniversalAscent
  private let contrast: UniversalContrast

  /// Compiles the steps. Throws `device` when there is not enough memory.
  ///
  /// - Parameters:
  ///   - data: images with their true labels, as they are or `tuning` augments them.
  ///   - tuning: the batch, the augmentation and the seed.
  init(
    _ model: Weights, witness: Weights, data: DeviceImages, tuning: TrainingSettings,
    settings: UniversalPerturbations
  ) throws {
    self.settings = settings
    self.tuning = tuning
    let images = try UniversalBatches(data, tuning)
    first = try UniversalAscent(model, witness, images, settings, count: settings.candidates)
    last = try UniversalAscent(
      model, witness, images, settings, count: min(settings.count, settings.candidates))
    contrast = try UniversalContrast(model, witness, images)
  }

  /// Ones for the mask of ``ApplyTrigger``: a perturbation covers its whole image.
  static func wholeImages(_ shape: Shape, on backend: any Backend) throws -> Tensor {
    let mask = Shape(shape.n, 1, shape.h, shape.w)
    return try backend.makeTensor([Float](repeating: 1, count: mask.count), shape: mask, role: .image)
  }

  /// The images of one search, as often as they are looked at.
  var imageCount: Int { settings.steps.reduce(0, +) * first.images.batch }

  /// Looks for perturbations of the models as they are now. `progress` gets the number of images done; throwing stops.
  ///
  /// - Returns: the perturbations, and the share of images that the model answers as labelled with them.
  func run(
    progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> (perturbations: [Float], answered: Double) {
    let (found, _) = try first.run(from: starts(), steps: settings.steps[0], progress: progress)
    let size = found.count / settings.candidates
    let candidates = (0..<settings.candidates).map { Array(found[$0 * size..<($0 + 1) * size]) }
    let scores = try candidates.map(contrast.measure)
    let best = candidates.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }.prefix(settings.count)
    let before = settings.steps[0] * first.images.batch
    return try last.run(from: best.flatMap { candidates[$0] }, steps: settings.steps[1]) {
      try progress(before + $0)
    }
  }

  private func starts() -> [Float] {
    var stream = PhiloxStream(seed: tuning.seed, purpose: RandomPurpose.universalStart)
    return (0..<settings.candidates).flatMap { _ in
      let start = (0..<first.perturbations.shape.count / settings.candidates).map { _ in
        2 * stream.nextUniform() - 1
      }
      let length = start.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return start.map { $0 * settings.start / max(length, .leastNormalMagnitude) }
    }
  }
}
