import Foundation

/// What a device rounds the inputs of convolutions and matrix products to. Sums, everything else and all memory are
/// float32.
public enum Precision: String, CaseIterable, Codable, Sendable {
  /// No rounding: the reference, and the default.
  case fp32
  /// TensorFloat-32: 11 significant bits and float32's exponents.
  case tf32
  /// bfloat16: 8 significant bits and float32's exponents.
  case bf16

  /// The largest relative error of rounding a normal number to nearest.
  public var roundoff: Double {
    switch self {
    case .fp32: 0x1p-24
    case .tf32: 0x1p-11
    case .bf16: 0x1p-8
    }
  }

  /// `x` as a product takes it: to nearest, halfway cases away from zero (tf32) or to even (bf16).
  public func rounded(_ x: Float) -> Float {
    guard x.isFinite else { return x }
    let bits = x.bitPattern
    return switch self {
    case .fp32: x
    case .tf32: Float(bitPattern: (bits + 0x1000) & ~0x1FFF)
    case .bf16: Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF)
    }
  }

  /// The precision that `PBE_GPU_PRECISION` asks for, by default fp32. Throws `usage` for a word that is none.
  public static func requested(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> Precision {
    guard let word = environment["PBE_GPU_PRECISION"], !word.isEmpty else { return .fp32 }
    guard let precision = Precision(rawValue: word) else {
      throw PBEError(
        .usage, "there is no precision \(word)", at: "PBE_GPU_PRECISION",
        remedy: "use \(allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return precision
  }
}

/// Whether a device can compute products in a precision.
public struct PrecisionSupport: Sendable, Equatable {
  /// The precision.
  public let precision: Precision
  /// Why it can't; `nil` when it can.
  public let problem: String?
}
