import Kernels

/// Adam over all of a network's parameters: its state and the gradients that feed it. Each backward pass replaces the
/// gradients.
public final class AdamOptimizer: Sendable {
  /// Gradients by parameter name.
  let gradients: [String: Tensor]
  private let gradientBlock: Tensor
  private let firstMoment: Tensor, secondMoment: Tensor
  /// The moments' parts by parameter name.
  let firstMoments: [String: Tensor], secondMoments: [String: Tensor]
  private let beta1: Float, beta2: Float

  /// Creates the state, all zero. Throws `device` when there is not enough memory.
  public init(_ weights: Weights, beta1: Float = 0.9, beta2: Float = 0.999) throws {
    self.beta1 = beta1
    self.beta2 = beta2
    (gradientBlock, gradients) = try weights.likeTrained()
    (firstMoment, firstMoments) = try weights.likeTrained()
    (secondMoment, secondMoments) = try weights.likeTrained()
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

  /// Adds the moments to a checkpoint, under names that begin with `name`.
  func save(to checkpoint: inout RunCheckpoint, as name: String, on backend: any Backend) throws {
    try checkpoint.save(firstMoments, as: "\(name)/first-moment", on: backend)
    try checkpoint.save(secondMoments, as: "\(name)/second-moment", on: backend)
  }

  /// Takes the moments back. Throws `badData` when the checkpoint does not fit.
  func restore(from checkpoint: RunCheckpoint, as name: String, on backend: any Backend) throws {
    try checkpoint.restore(firstMoments, from: "\(name)/first-moment", on: backend)
    try checkpoint.restore(secondMoments, from: "\(name)/second-moment", on: backend)
  }
}
