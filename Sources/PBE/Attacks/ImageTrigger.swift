import Kernels

/// A picture as the trigger: added to the image (a trojan watermark), or blended into it, everywhere or where a mask
/// says. The published models of I-BAU (Zeng et al., "Adversarial unlearning of backdoors via implicit hypergradient", ICLR
/// 2022) have such triggers.
public struct ImageTrigger: Attack {
  public static let name = "image"

  /// How picture and image meet.
  public enum Combination: String, Codable, Sendable {
    /// `x + alpha * mask * picture`, clipped to [0, 1].
    case add
    /// `x + alpha * mask * (picture - x)`.
    case blend
  }

  /// The picture's file (PNG, JPEG or PPM), from the attack file's folder.
  public var image: String
  /// The strength, 0 to 1.
  public var alpha: Float
  /// A picture whose brightness is the strength per pixel; none is full strength everywhere.
  public var mask: String?
  /// How picture and image meet.
  public var combination: Combination

  /// Creates the attack.
  public init(image: String, alpha: Float = 1, mask: String? = nil, combination: Combination = .blend) {
    self.image = image
    self.alpha = alpha
    self.mask = mask
    self.combination = combination
  }

  private enum CodingKeys: String, CodingKey, CaseIterable { case image, alpha, mask, combination }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    image = try values.decode(String.self, forKey: .image)
    alpha = try values.decodeIfPresent(Float.self, forKey: .alpha) ?? 1
    mask = try values.decodeIfPresent(String.self, forKey: .mask)
    combination = try values.decodeIfPresent(Combination.self, forKey: .combination) ?? .blend
  }

  public func changingFiles(
    _ change: (_ key: String, _ path: String) throws -> String
  ) rethrows -> ImageTrigger {
    var attack = self
    attack.image = try change("image", image)
    attack.mask = try mask.map { try change("mask", $0) }
    return attack
  }

  public func makeTrigger(image shape: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    guard (0...1).contains(alpha) else {
      throw PBEError(
        .badData, "alpha \(alpha) is not between 0 and 1", at: "attack image, alpha",
        remedy: "use one that is")
    }
    let pattern = try Picture.pattern(file: image, shape)
    let strength =
      try mask.map { try Picture.pattern(file: $0, shape) } ?? Array(repeating: 1, count: pattern.count)
    return try FixedPattern(
      pattern: pattern, mask: strength.map { $0 * alpha }, image: Shape(1, shape.c, shape.h, shape.w),
      kind: combination == .add ? .additive : .blend, clip: combination == .add, on: backend)
  }
}

extension Picture {
  /// A picture file as the pattern of a trigger: NCHW values in [0, 1], scaled to one image's shape. On grey images the
  /// channels of a colour picture are averaged. Throws as ``init(file:)``.
  static func pattern(file path: String, _ shape: Shape) throws -> [Float] {
    try Picture(file: path).pattern(shape)
  }

  /// The same for a picture in memory.
  func pattern(_ shape: Shape) throws -> [Float] {
    let picture = try resized(width: shape.w, height: shape.h)
    let planes = picture.planar.map { Float($0) / 255 }
    if picture.channels == shape.c { return planes }
    let size = shape.h * shape.w
    return (0..<shape.c * size).map { at in
      (0..<picture.channels).reduce(0) { $0 + planes[$1 * size + at % size] } / Float(picture.channels)
    }
  }
}
