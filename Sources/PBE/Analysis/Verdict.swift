import Kernels

/// What is made of an inspection without knowing any trigger.
public struct Verdict: Sendable, Codable {
  public var score: Double
}
