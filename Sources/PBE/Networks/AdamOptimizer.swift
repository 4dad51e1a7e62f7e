import Kernels

/// Adam over all of a network's parameters: its state and the gradients that feed it. Each backward pass replaces the
/// gradients.
public final class AdamOptimizer: Sendable {
  /// Gradients by parameter name.
  let gradients: [String: Tensor]
  private let gradientBlock: Tensor
  /// The moments, laid out as ``Weights/trained``.
  public let firstMoment: Tensor, secondMoment: Tensor
  private let beta1: Float, beta2: Float

  /// Creates the state, all zero. Throws `device` when there is not enough memory.
  public init(_ weights: Weights, beta1: Float = 0.9, beta2: Float = 0.999) throws {
    self.beta1 = beta1
    self.beta2 = beta2
    (gradientBlock, gradients) = try weights.likeTrained()
    firstMoment = try weights.likeTrained().whole
    secondMoment = try weights.likeTrained().whole
  }

  /// Appends the update of every parameter. The run's step counts the updates, from 1.
  func update(_ weights: Weights, in program: inout Program) {
    program.append(
      .adam(
        Adam(
          parameters: program.bind(weights.trained), gradients: program.bind(gradientBlock),
          firstMoment: program.bind(firstMoment), secondMoment: program.bind(secondMoment), beta1: beta1,
          beta2: beta2)))
  }
}
