import Kernels

/// What a parameter is multiplied with, element by element, so that what is pruned stays zero.
public struct WeightMask: Sendable {
  /// The parameter's name in the `state_dict`.
  public let parameter: String
  /// float32, of the parameter's shape and role.
  public let factors: Tensor
}

extension Weights {
  /// A mask that prunes inputs of a linear layer or a convolution, all of whose outputs lose them.
  ///
  /// - Parameters:
  ///   - keeps: for each input channel whether it stays; or, where a linear layer flattens an image, for each of its
  ///     features, in PyTorch's order (CHW).
  ///   - parameter: the name of the layer's weight, such as `linear.weight`.
  ///
  /// Throws `internal` when they don't fit.
  public func mask(keepingInputs keeps: [Bool], of parameter: String) throws -> WeightMask {
    let weight = try tensor(parameter)
    let inputs = weight.shape.count / weight.shape.n
    guard keeps.count == inputs || keeps.count == weight.shape.c else {
      throw PBEError(.internal, "\(keeps.count) flags don't fit the inputs of \(parameter), \(weight.shape)")
    }
    let row = (0..<inputs).map { Float(keeps[$0 * keeps.count / inputs] ? 1 : 0) }
    let factors = try backend.makeTensor(
      (0..<weight.shape.n).flatMap { _ in row }, shape: weight.shape, role: weight.role)
    return WeightMask(parameter: parameter, factors: factors)
  }
}
