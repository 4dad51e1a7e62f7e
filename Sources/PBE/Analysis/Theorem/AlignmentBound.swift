import Foundation

/// Theorem 1 of the poster of Mu et al., CVPR 2023: how much of an infected model's adversarial perturbation r lies along the
/// trigger P, at least: `|r_P| / |r| >= A / sqrt(A^2 + B^2)` with `A = (sqrt 2 - 1) l |P|^2` and
/// `B = l |P|^2 + sqrt 2 K / (exp(tau) + K)`.
///
/// The poster leaves out the theorem's assumptions and what its symbols mean. Here l is the strength of what the attack
/// planted, tau the margin of the clean image's logit, K the number of competing classes. Only these readings are guessed.
public enum AlignmentBound {
  /// The bound for `u = l |P|^2`, the logit change that the trigger makes. All arguments are at least 0; infinite ones give
  /// the limit.
  public static func value(logitChange u: Double, margin tau: Double, competitors: Int) -> Double {
    guard u > 0 else { return 0 }
    guard u.isFinite else { return limit }
    let others = Double(competitors) / (exp(tau) + Double(competitors))
    let (along, across) = ((2.0.squareRoot() - 1) * u, u + 2.0.squareRoot() * others)
    return min(limit, along / hypot(along, across))
  }

  /// The bound for l and |P|.
  public static func value(
    strength: Double, triggerNorm: Double, margin: Double, competitors: Int
  ) -> Double {
    value(logitChange: strength * triggerNorm * triggerNorm, margin: margin, competitors: competitors)
  }

  /// What no bound exceeds: sin(pi / 8), an angle of 67.5 degrees between perturbation and trigger.
  public static let limit = sin(Double.pi / 8)
}

/// The bound beside a measurement.
public struct BoundCheck: Sendable, Codable, Equatable {
  /// What was measured.
  public var name: String
  /// `u = l |P|^2`, and the margin, that the bound was taken for.
  public var logitChange: Double, margin: Double
  /// The bound.
  public var bound: Double
  /// The measured cosine between perturbation and trigger.
  public var cosine: Double

  /// Whether the measurement is below the bound.
  public var isViolated: Bool { cosine < bound }

  init(_ name: String, logitChange: Double, margin: Double, competitors: Int, cosine: Double) {
    self.name = name
    self.logitChange = logitChange
    self.margin = margin
    self.cosine = cosine
    bound = AlignmentBound.value(logitChange: logitChange, margin: margin, competitors: competitors)
  }
}
