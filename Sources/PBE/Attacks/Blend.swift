import Kernels

/// Blend: a picture is mixed into the whole image, `(1 - alpha) x + alpha p` (Chen et al., "Targeted backdoor attacks on
/// deep learning systems using data poisoning", 2017).
public struct Blend: Attack {
  public static let name = "blend"

  /// The share of the picture.
  public var alpha: Float
  /// `noise` (uniform, drawn from the seed), `picture` (a drawing that the program makes), or a PNG, JPEG or PPM file.
  public var pattern: String

  /// Creates the attack.
  public init(alpha: Float = 0.1, pattern: String = "noise") {
    self.alpha = alpha
    self.pattern = pattern
  }

  private enum CodingKeys: String, CodingKey, CaseIterable { case alpha, pattern }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    alpha = try values.decodeIfPresent(Float.self, forKey: .alpha) ?? 0.1
    pattern = try values.decodeIfPresent(String.self, forKey: .pattern) ?? "noise"
  }

  public func changingFiles(_ change: (_ key: String, _ path: String) throws -> String) rethrows -> Blend {
    var attack = self
    if !["noise", "picture"].contains(pattern) { attack.pattern = try change("pattern", pattern) }
    return attack
  }

  public func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    guard (0...1).contains(alpha) else {
      throw PBEError(
        .badData, "alpha \(alpha) is not between 0 and 1", at: "attack blend, alpha",
        remedy: "use one that is")
    }
    let values: [Float]
    switch pattern {
    case "noise": values = Self.noise(image, seed: seed)
    case "picture": values = try Drawing.picture(width: image.w, height: image.h).pattern(image)
    default: values = try Picture.pattern(file: pattern, image)
    }
    return try FixedPattern(
      pattern: values, mask: Array(repeating: alpha, count: values.count), image: image, kind: .blend,
      clip: false, on: backend)
  }

  /// Uniform in [0, 1), each channel by itself.
  static func noise(_ image: Shape, seed: UInt64) -> [Float] {
    var stream = PhiloxStream(seed: seed, purpose: RandomPurpose.triggerPattern)
    return (0..<image.count).map { _ in stream.nextUniform() }
  }
}
