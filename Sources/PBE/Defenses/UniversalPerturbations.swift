import Kernels

/// Perturbations, each the same for all images, that change a model's answers and not those of another, its witness. Of an
/// infected model and one without the backdoor that knows the same, a trigger is such a perturbation.
public struct UniversalPerturbations: Sendable, Codable, Hashable {
  /// Into how many rows and columns of tiles images are divided; a perturbation changes one tile. Undivided ones are for
  /// triggers that cover much of an image. In a tile little but a trigger fools a model, where a whole image has other ways.
  public var divisions = [1, 4]
  /// How many are looked for at first, per division, side by side, each from a random start of its own and on a part of
  /// each batch. Few starts lead to a trigger; the others find what a model does not answer well anyhow, and fool it much
  /// less. The tiles take turns.
  public var candidates = 16
  /// How many of them are kept, per division: those that fool the model most. All that are kept are looked for further.
  public var count = 4
  /// The largest length (L2) of a perturbation, where pixels are in [0, 1].
  public var radius: Float = 3
  /// The length of a step.
  public var step: Float = 0.3
  /// Steps of gradient ascent, a batch each: of all candidates of one division, and of all that are kept.
  public var steps = [60, 120]
  /// The length of a random start.
  public var start: Float = 1
  /// The steps of a whole search.
  var allSteps: Int { divisions.count * steps[0] + steps[1] }

  /// The defaults.
  public init() {}
}

/// A perturbation and where it may be.
struct UniversalPerturbation {
  /// (c, h, w).
  var values: [Float]
  /// (h, w): 1 where it may differ from zero, 0 elsewhere.
  var mask: [Float]

  /// A random start in one tile: number `tile`, row by row, of `divisions` rows and columns.
  init(image: Shape, divisions: Int, tile: Int, length: Float, from stream: inout PhiloxStream) {
    let (row, column) = (tile / divisions, tile % divisions)
    func part(_ number: Int, of size: Int) -> Range<Int> {
      size * number / divisions..<size * (number + 1) / divisions
    }
    let (rows, columns) = (part(row, of: image.h), part(column, of: image.w))
    let mask = (0..<image.h * image.w).map { pixel -> Float in
      rows.contains(pixel / image.w) && columns.contains(pixel % image.w) ? 1 : 0
    }
    let start = (0..<image.c * mask.count).map { (2 * stream.nextUniform() - 1) * mask[$0 % mask.count] }
    let size = start.reduce(0) { $0 + $1 * $1 }.squareRoot()
    self.mask = mask
    values = start.map { $0 * length / max(size, .leastNormalMagnitude) }
  }
}

/// Looks for universal perturbations: gradient ascent from many starts, and further from the best.
final class UniversalSearch {
  /// float32 image (count, c, h, w): the perturbations, after ``run(progress:)``.
  var perturbations: Tensor { last.perturbations }
  private let settings: UniversalPerturbations
  private let seed: UInt64
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
    seed = tuning.seed
    let images = try UniversalBatches(data, tuning)
    first = try UniversalAscent(model, witness, images, settings, count: settings.candidates)
    last = try UniversalAscent(
      model, witness, images, settings,
      count: settings.divisions.count * min(settings.count, settings.candidates))
    contrast = try UniversalContrast(model, witness, images)
  }

  /// Ones for the mask of ``ApplyTrigger``: a perturbation is put on its whole image.
  static func wholeImages(_ shape: Shape, on backend: any Backend) throws -> Tensor {
    let mask = Shape(shape.n, 1, shape.h, shape.w)
    return try backend.makeTensor([Float](repeating: 1, count: mask.count), shape: mask, role: .image)
  }

  /// The images of one search, as often as they are looked at.
  var imageCount: Int { settings.allSteps * first.images.batch }

  /// Looks for perturbations of the models as they are now. `progress` gets the number of images done; throwing stops.
  ///
  /// - Returns: the perturbations, those of each division together, and the share of images that the model answers as
  ///   labelled with them.
  func run(
    progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> (perturbations: [Float], answered: Double) {
    var stream = PhiloxStream(seed: seed, purpose: RandomPurpose.universalStart)
    var kept: [UniversalPerturbation] = []
    var done = 0
    for divisions in settings.divisions {
      let starts = (0..<settings.candidates).map {
        UniversalPerturbation(
          image: first.perturbations.shape, divisions: divisions, tile: $0 % (divisions * divisions),
          length: settings.start, from: &stream)
      }
      let candidates = try first.run(from: starts, steps: settings.steps[0]) { try progress(done + $0) }.found
      let scores = try candidates.map { try contrast.measure($0.values) }
      let best = candidates.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }.prefix(settings.count)
      kept += best.map { candidates[$0] }
      done += settings.steps[0] * first.images.batch
    }
    let (found, answered) = try last.run(from: kept, steps: settings.steps[1]) { try progress(done + $0) }
    return (found.flatMap(\.values), answered)
  }
}
