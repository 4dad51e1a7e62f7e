import Kernels

/// The input-aware attack: two generators make each image's own pattern and mask (Nguyen and Tran, "Input-aware dynamic
/// backdoor attack", NeurIPS 2020).
///
/// The generators are trained with the victim (``DynamicTrainer``). Without trained ones there is no trigger.
public struct Dynamic: Attack {
  public static let name = "dynamic"

  /// The file with the trained generators; none before they are trained.
  public var generators: String?
  /// Channels of the generators' first level; none for the attack's own, 32, or 16 for grey images.
  public var width: Int?
  /// How often the generators halve the image; none for the attack's own, 3, or 2 for grey images.
  public var levels: Int?
  /// Cross images, with the pattern of another image, per poisoned image.
  public var cross: Double
  /// The weight of the diversity loss, for images in [0, 1].
  public var diversity: Float
  /// The generators' learning rate, before it falls.
  public var rate: Float
  /// Generators that are on a device, while they are trained; their trigger follows the training.
  public var live: Generators?

  public var crossRatio: Double { cross }

  /// Creates the attack; the defaults are the official code's.
  public init(
    generators: String? = nil, width: Int? = nil, levels: Int? = nil, cross: Double = 1, diversity: Float = 1,
    rate: Float = 0.01
  ) {
    self.generators = generators
    self.width = width
    self.levels = levels
    self.cross = cross
    self.diversity = diversity
    self.rate = rate
  }

  private enum CodingKeys: String, CodingKey, CaseIterable {
    case generators, width, levels, cross = "cross_ratio", diversity, rate = "generator_rate"
  }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let official = Dynamic()
    self.init(
      generators: try values.decodeIfPresent(String.self, forKey: .generators),
      width: try values.decodeIfPresent(Int.self, forKey: .width),
      levels: try values.decodeIfPresent(Int.self, forKey: .levels),
      cross: try values.decodeIfPresent(Double.self, forKey: .cross) ?? official.cross,
      diversity: try values.decodeIfPresent(Float.self, forKey: .diversity) ?? official.diversity,
      rate: try values.decodeIfPresent(Float.self, forKey: .rate) ?? official.rate)
  }

  public func changingFiles(_ change: (_ key: String, _ path: String) throws -> String) rethrows -> Dynamic {
    var attack = self
    attack.generators = try generators.map { try change("generators", $0) }
    return attack
  }

  /// New generators for images of a shape, on a device, all zero. Throws `badData` when a parameter doesn't fit.
  public func makeGenerators(for image: Shape, on backend: any Backend) throws -> Generators {
    guard (0...9).contains(cross), (0...1000).contains(diversity) else {
      throw PBEError(
        .badData, "cross_ratio \(cross) or diversity \(diversity) is out of range", at: "attack dynamic",
        remedy: "use 0 to 9 and 0 to 1000")
    }
    guard rate > 0, rate <= 1 else {
      throw PBEError(
        .badData, "generator_rate \(rate) is out of range", at: "attack dynamic",
        remedy: "use more than 0, and at most 1; the official code's is 0.01")
    }
    return try Generators(
      for: image, size: Generators.Size(for: image, width: width, levels: levels), on: backend)
  }

  public func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    if let live, live.pattern.backend === backend, live.image == Shape(1, image.c, image.h, image.w) {
      return DynamicTrigger(generators: live)
    }
    guard let generators else {
      throw PBEError(
        .badData, "the attack has no trained generators", at: "attack dynamic, generators",
        remedy: "train them with infect, and use the attack.json that it writes")
    }
    let trained = try makeGenerators(for: image, on: backend)
    try trained.load(from: generators)
    return DynamicTrigger(generators: trained)
  }
}
