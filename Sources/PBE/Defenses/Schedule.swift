import Foundation

/// How the learning rate changes over a training.
public enum Schedule: String, Codable, Sendable, CaseIterable {
  /// From the given rate to zero along half a cosine, over all epochs.
  case cosine
  /// Up from a 25th of the given rate to the rate in the first 30% of the way, then down to almost zero, both along half
  /// a cosine (Smith and Topin, "Super-convergence", 2018; the proportions of PyTorch's `OneCycleLR`).
  case oneCycle = "one-cycle"
  /// The given rate, a tenth of it after half of the way, and a hundredth after three quarters.
  case multistep
  /// The same throughout, as the paper's code in effect has it.
  case constant

  /// The rate at a share of the way, 0 to 1.
  public func rate(_ base: Float, share: Double) -> Float {
    switch self {
    case .cosine: base * Self.descent(share)
    case .oneCycle:
      share < 0.3
        ? base * (1 - 24 / 25 * Self.descent(share / 0.3))
        : base * (1e-6 + (1 - 1e-6) * Self.descent((share - 0.3) / 0.7))
    case .multistep: base * (share < 0.5 ? 1 : share < 0.75 ? 0.1 : 0.01)
    case .constant: base
    }
  }

  /// From 1 to 0 along half a cosine.
  private static func descent(_ share: Double) -> Float { Float(0.5 * (1 + cos(share * Double.pi))) }
}
