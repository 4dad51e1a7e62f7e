/// Training-mode batch norm, first half: the batch's mean and biased variance per channel, the running statistics'
/// update (unbiased variance, as PyTorch), and the affine map that normalises:
/// `scale = gamma * inverseDeviation`, `shift = beta - mean * scale`.
public struct BatchNormStatistics: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Vectors of c: learned scale and shift.
  public var gamma: Value, beta: Value
  /// Vectors of c, updated: `running = (1 - momentum) * running + momentum * batch`.
  public var runningMean: Value, runningVariance: Value
  /// Vectors of c, written: the batch's mean and `1 / sqrt(variance + epsilon)`.
  public var mean: Value, inverseDeviation: Value
  /// Vectors of c, written: the affine map that normalises.
  public var affine: ChannelAffine
  /// The weight of the new batch in the running statistics.
  public var momentum: Float
  /// Added to the variance.
  public var epsilon: Float

  /// Creates the operator.
  public init(
    input: Value, gamma: Value, beta: Value, runningMean: Value, runningVariance: Value, mean: Value,
    inverseDeviation: Value, affine: ChannelAffine, momentum: Float = 0.1, epsilon: Float = 1e-5
  ) {
    self.input = input
    self.gamma = gamma
    self.beta = beta
    self.runningMean = runningMean
    self.runningVariance = runningVariance
    self.mean = mean
    self.inverseDeviation = inverseDeviation
    self.affine = affine
    self.momentum = momentum
    self.epsilon = epsilon
  }

  public var reads: [Value] { [input, gamma, beta, runningMean, runningVariance] }
  public var writes: [Value] {
    [runningMean, runningVariance, mean, inverseDeviation, affine.scale, affine.shift]
  }
}

/// Evaluation-mode batch norm as an affine map from the running statistics.
public struct BatchNormFold: OperationDescriptor {
  /// Vectors of c.
  public var gamma: Value, beta: Value, runningMean: Value, runningVariance: Value
  /// Vectors of c, written.
  public var affine: ChannelAffine
  /// Vector of c, written when given: `1 / sqrt(runningVariance + epsilon)`.
  public var inverseDeviation: Value?
  /// Added to the variance.
  public var epsilon: Float

  /// Creates the operator.
  public init(
    gamma: Value, beta: Value, runningMean: Value, runningVariance: Value, affine: ChannelAffine,
    inverseDeviation: Value? = nil, epsilon: Float = 1e-5
  ) {
    self.gamma = gamma
    self.beta = beta
    self.runningMean = runningMean
    self.runningVariance = runningVariance
    self.affine = affine
    self.inverseDeviation = inverseDeviation
    self.epsilon = epsilon
  }

  public var reads: [Value] { [gamma, beta, runningMean, runningVariance] }
  public var writes: [Value] { [affine.scale, affine.shift] + (inverseDeviation.map { [$0] } ?? []) }
}

/// `output = activation(scale * input + shift)`, elementwise; the affine map is per channel. `output` may be `input`.
public struct AffineActivation: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// `nil` is the identity.
  public var affine: ChannelAffine?
  /// The elementwise function.
  public var activation: Activation
  /// Image of the input's shape.
  public var output: Value

  /// Creates the operator.
  public init(input: Value, affine: ChannelAffine? = nil, activation: Activation, output: Value) {
    self.input = input
    self.affine = affine
    self.activation = activation
    self.output = output
  }

  public var reads: [Value] { [input] + (affine.map { [$0.scale, $0.shift] } ?? []) }
  public var writes: [Value] { [output] }
}

/// The input gradient of ``AffineActivation`` with a constant affine map:
/// `inputGradient (+)= outputGradient * activation'(scale * input + shift) * scale`.
/// `inputGradient` may be `outputGradient` when not accumulating.
public struct AffineActivationGradient: OperationDescriptor {
  /// Images (n, c, h, w): the gradient in the output, and the forward input.
  public var outputGradient: Value, input: Value
  /// `nil` is the identity.
  public var affine: ChannelAffine?
  /// The elementwise function.
  public var activation: Activation
  /// Image (n, c, h, w).
  public var inputGradient: Value
  /// Adds to `inputGradient` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    outputGradient: Value, input: Value, affine: ChannelAffine? = nil, activation: Activation,
    inputGradient: Value, accumulate: Bool = false
  ) {
    self.outputGradient = outputGradient
    self.input = input
    self.affine = affine
    self.activation = activation
    self.inputGradient = inputGradient
    self.accumulate = accumulate
  }

  public var reads: [Value] {
    [outputGradient, input] + (affine.map { [$0.scale, $0.shift] } ?? [])
      + (accumulate ? [inputGradient] : [])
  }
  public var writes: [Value] { [inputGradient] }
}

/// The gradients of batch norm (followed by an activation) in gamma and beta. With
/// `dz = outputGradient * activation'(scale * input + shift)` and `xhat = (input - mean) * inverseDeviation`:
/// `gammaGradient = sum(dz * xhat)`, `betaGradient = sum(dz)` over samples and pixels.
public struct BatchNormParameterGradient: OperationDescriptor {
  /// Images (n, c, h, w): the gradient in the activation's output, and the forward input of the batch norm.
  public var outputGradient: Value, input: Value
  /// The forward affine map.
  public var affine: ChannelAffine
  /// The function after the batch norm.
  public var activation: Activation
  /// Vectors of c.
  public var mean: Value, inverseDeviation: Value
  /// Vectors of c, written.
  public var gammaGradient: Value, betaGradient: Value

  /// Creates the operator.
  public init(
    outputGradient: Value, input: Value, affine: ChannelAffine, activation: Activation, mean: Value,
    inverseDeviation: Value, gammaGradient: Value, betaGradient: Value
  ) {
    self.outputGradient = outputGradient
    self.input = input
    self.affine = affine
    self.activation = activation
    self.mean = mean
    self.inverseDeviation = inverseDeviation
    self.gammaGradient = gammaGradient
    self.betaGradient = betaGradient
  }

  public var reads: [Value] { [outputGradient, input, affine.scale, affine.shift, mean, inverseDeviation] }
  public var writes: [Value] { [gammaGradient, betaGradient] }
}

/// The input gradient of training-mode batch norm followed by an activation. With `dz`, `xhat` as in
/// ``BatchNormParameterGradient`` and N = samples x pixels:
/// `inputGradient (+)= scale * (dz - betaGradient / N - xhat * gammaGradient / N)`.
/// `inputGradient` may be `outputGradient` when not accumulating.
public struct BatchNormInputGradient: OperationDescriptor {
  /// Images (n, c, h, w): the gradient in the activation's output, and the forward input of the batch norm.
  public var outputGradient: Value, input: Value
  /// The forward affine map.
  public var affine: ChannelAffine
  /// The function after the batch norm.
  public var activation: Activation
  /// Vectors of c.
  public var mean: Value, inverseDeviation: Value
  /// Vectors of c.
  public var gammaGradient: Value, betaGradient: Value
  /// Image (n, c, h, w).
  public var inputGradient: Value
  /// Adds to `inputGradient` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    outputGradient: Value, input: Value, affine: ChannelAffine, activation: Activation, mean: Value,
    inverseDeviation: Value, gammaGradient: Value, betaGradient: Value, inputGradient: Value,
    accumulate: Bool = false
  ) {
    self.outputGradient = outputGradient
    self.input = input
    self.affine = affine
    self.activation = activation
    self.mean = mean
    self.inverseDeviation = inverseDeviation
    self.gammaGradient = gammaGradient
    self.betaGradient = betaGradient
    self.inputGradient = inputGradient
    self.accumulate = accumulate
  }

  public var reads: [Value] {
    [
      outputGradient, input, affine.scale, affine.shift, mean, inverseDeviation, gammaGradient,
      betaGradient,
    ] + (accumulate ? [inputGradient] : [])
  }
  public var writes: [Value] { [inputGradient] }
}
