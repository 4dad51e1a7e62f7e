import Foundation
import Kernels

/// A per-channel scale and shift in double precision.
public struct ReferenceAffine: Sendable {
  /// Factor per channel.
  public var scale: ReferenceTensor
  /// Addend per channel.
  public var shift: ReferenceTensor

  /// Creates the pair.
  public init(scale: ReferenceTensor, shift: ReferenceTensor) {
    self.scale = scale
    self.shift = shift
  }
}

/// What training-mode batch norm computes from a batch.
public struct ReferenceStatistics: Sendable {
  /// The batch's mean per channel.
  public var mean: ReferenceTensor
  /// `1 / sqrt(biased variance + epsilon)`.
  public var inverseDeviation: ReferenceTensor
  /// The running mean afterwards.
  public var runningMean: ReferenceTensor
  /// The running variance afterwards, fed with the unbiased variance.
  public var runningVariance: ReferenceTensor
  /// The map that normalises.
  public var affine: ReferenceAffine
}

extension Reference {
  /// The elementwise function.
  public static func value(_ activation: Activation, _ z: Double) -> Double {
    switch activation {
    case .identity: z
    case .relu: max(z, 0)
    case .leakyReLU(let slope): z > 0 ? z : Double(slope) * z
    case .elu(let alpha): z > 0 ? z : Double(alpha) * expm1(z)
    case .tanh: Foundation.tanh(z)
    case .sigmoid: 1 / (1 + exp(-z))
    case .silu: z / (1 + exp(-z))
    case .hardSwish: z * min(max(z + 3, 0), 6) / 6
    }
  }

  /// Its derivative; at a kink the one that PyTorch takes.
  public static func derivative(_ activation: Activation, _ z: Double) -> Double {
    switch activation {
    case .identity: return 1
    case .relu: return z > 0 ? 1 : 0
    case .leakyReLU(let slope): return z > 0 ? 1 : Double(slope)
    case .elu(let alpha): return z > 0 ? 1 : Double(alpha) * exp(z)
    case .tanh: return 1 - Foundation.tanh(z) * Foundation.tanh(z)
    case .sigmoid:
      let s = 1 / (1 + exp(-z))
      return s * (1 - s)
    case .silu:
      let s = 1 / (1 + exp(-z))
      return s * (1 + z * (1 - s))
    case .hardSwish: return z <= -3 ? 0 : z < 3 ? z / 3 + 0.5 : 1
    }
  }

  /// The points where the derivative jumps.
  static func kinks(_ activation: Activation) -> [Double] {
    switch activation {
    case .relu, .leakyReLU: [0]
    case .elu(let alpha): alpha == 1 ? [] : [0]
    case .hardSwish: [-3, 3]
    case .identity, .tanh, .sigmoid, .silu: []
    }
  }

  /// `scale * x + shift` per channel.
  public static func affine(_ input: ReferenceTensor, _ affine: ReferenceAffine?) -> ReferenceTensor {
    guard let affine else { return input }
    return input.mapped { affine.scale[input.channel($0)] * $1 + affine.shift[input.channel($0)] }
  }

  /// `activation(scale * x + shift)`.
  public static func affineActivation(
    _ input: ReferenceTensor, _ map: ReferenceAffine?, _ activation: Activation
  ) -> ReferenceTensor {
    affine(input, map).mapped { value(activation, $1) }
  }

  /// The gradient in `scale * x + shift`: `outputGradient * activation'`.
  static func preactivationGradient(
    _ outputGradient: ReferenceTensor, _ input: ReferenceTensor, _ map: ReferenceAffine?,
    _ activation: Activation
  ) -> ReferenceTensor {
    affine(input, map).mapped { outputGradient[$0] * derivative(activation, $1) }
  }

  /// The input gradient of ``affineActivation(_:_:_:)`` with a constant map.
  public static func affineActivationGradient(
    _ outputGradient: ReferenceTensor, input: ReferenceTensor, _ map: ReferenceAffine?,
    _ activation: Activation
  ) -> ReferenceTensor {
    let dz = preactivationGradient(outputGradient, input, map, activation)
    guard let map else { return dz }
    return dz.mapped { $1 * map.scale[dz.channel($0)] }
  }

  /// Training-mode batch norm, first half.
  public static func batchNormStatistics(
    _ input: ReferenceTensor, gamma: ReferenceTensor, beta: ReferenceTensor, runningMean: ReferenceTensor,
    runningVariance: ReferenceTensor, momentum: Double, epsilon: Double
  ) -> ReferenceStatistics {
    let count = Double(input.shape.pixels)
    let mean = channelSum(input).mapped { $1 / count }
    let squares = channelSum(input.mapped { ($1 - mean[input.channel($0)]) * ($1 - mean[input.channel($0)]) })
    let inverseDeviation = squares.mapped { 1 / ($1 / count + epsilon).squareRoot() }
    let scale = gamma.mapped { $1 * inverseDeviation[$0] }
    return ReferenceStatistics(
      mean: mean, inverseDeviation: inverseDeviation,
      runningMean: runningMean.mapped { (1 - momentum) * $1 + momentum * mean[$0] },
      runningVariance: runningVariance.mapped {
        (1 - momentum) * $1 + momentum * squares[$0] / max(1, count - 1)
      },
      affine: ReferenceAffine(scale: scale, shift: beta.mapped { $1 - mean[$0] * scale[$0] }))
  }

  /// Evaluation-mode batch norm as an affine map, and the inverse deviation.
  public static func batchNormFold(
    gamma: ReferenceTensor, beta: ReferenceTensor, runningMean: ReferenceTensor,
    runningVariance: ReferenceTensor,
    epsilon: Double
  ) -> (affine: ReferenceAffine, inverseDeviation: ReferenceTensor) {
    let inverseDeviation = runningVariance.mapped { 1 / ($1 + epsilon).squareRoot() }
    let scale = gamma.mapped { $1 * inverseDeviation[$0] }
    let shift = beta.mapped { $1 - runningMean[$0] * scale[$0] }
    return (ReferenceAffine(scale: scale, shift: shift), inverseDeviation)
  }

  /// `(input - mean) * inverseDeviation`.
  static func normalised(
    _ input: ReferenceTensor, mean: ReferenceTensor, inverseDeviation: ReferenceTensor
  ) -> ReferenceTensor {
    input.mapped { ($1 - mean[input.channel($0)]) * inverseDeviation[input.channel($0)] }
  }

  /// The gradients of batch norm followed by an activation in gamma and beta.
  public static func batchNormParameterGradient(
    _ outputGradient: ReferenceTensor, input: ReferenceTensor, affine: ReferenceAffine,
    activation: Activation,
    mean: ReferenceTensor, inverseDeviation: ReferenceTensor
  ) -> (gamma: ReferenceTensor, beta: ReferenceTensor) {
    let dz = preactivationGradient(outputGradient, input, affine, activation)
    let xhat = normalised(input, mean: mean, inverseDeviation: inverseDeviation)
    return (channelSum(dz.mapped { $1 * xhat[$0] }), channelSum(dz))
  }

  /// The input gradient of training-mode batch norm followed by an activation.
  public static func batchNormInputGradient(
    _ outputGradient: ReferenceTensor, input: ReferenceTensor, affine: ReferenceAffine,
    activation: Activation,
    mean: ReferenceTensor, inverseDeviation: ReferenceTensor, gammaGradient: ReferenceTensor,
    betaGradient: ReferenceTensor
  ) -> ReferenceTensor {
    let dz = preactivationGradient(outputGradient, input, affine, activation)
    let xhat = normalised(input, mean: mean, inverseDeviation: inverseDeviation)
    let count = Double(input.shape.pixels)
    return dz.mapped { i, gradient in
      let c = dz.channel(i)
      return affine.scale[c] * (gradient - betaGradient[c] / count - xhat[i] * gammaGradient[c] / count)
    }
  }
}
