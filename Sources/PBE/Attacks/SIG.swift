import Foundation
import Kernels

/// SIG: a sinusoid over the columns is added to the image (Barni et al., "A new backdoor attack in CNNs by training set
/// corruption without label poisoning", ICIP 2019).
public struct SIG: Attack {
  public static let name = "sig"

  /// Which images are poisoned, and their labels.
  public enum Label: String, Codable, Sendable {
    /// Images of all classes, which get the attacker's label.
    case dirty
    /// Images of the target class, which keep it; as the attack was published.
    case clean
  }

  /// The amplitude in units of 1/255.
  public var delta: Float
  /// Periods over the image's width.
  public var frequency: Float
  /// Which images are poisoned.
  public var label: Label

  /// Creates the attack.
  public init(delta: Float = 20, frequency: Float = 6, label: Label = .dirty) {
    self.delta = delta
    self.frequency = frequency
    self.label = label
  }

  private enum CodingKeys: String, CodingKey, CaseIterable { case delta, frequency, label }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    delta = try values.decodeIfPresent(Float.self, forKey: .delta) ?? 20
    frequency = try values.decodeIfPresent(Float.self, forKey: .frequency) ?? 6
    label = try values.decodeIfPresent(Label.self, forKey: .label) ?? .dirty
  }

  public var isCleanLabel: Bool { label == .clean }

  public func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    guard (0...255).contains(delta), (0...1e6).contains(frequency) else {
      throw PBEError(
        .badData, "delta must be 0 to 255, and frequency 0 to 1000000", at: "attack sig",
        remedy: "see docs/attacks.md")
    }
    let wave = (0..<image.w).map { column in
      Float(
        Double(delta) / 255 * sin(2 * Double.pi * Double(column) * Double(frequency) / Double(image.w)))
    }
    let pattern = (0..<image.c * image.h).flatMap { _ in wave }
    return try FixedPattern(
      pattern: pattern, mask: Array(repeating: 1, count: pattern.count), image: image, kind: .additive,
      clip: true, on: backend)
  }
}
