/// Puts a trigger on flagged samples: `x + mask * (pattern - x)` (blend), or `x + mask * pattern` (additive); then
/// [0, 1] when clipping. `output` may be `input`.
///
/// There are k patterns: one for all samples, or one made from each. With more than one, sample i takes pattern
/// `(i - (flag - 1)) mod k`: with flag 1 its own, with 2 that of the sample before it, and so on.
public struct ApplyTrigger: OperationDescriptor {
  /// How the pattern meets the image.
  public enum Kind: Hashable, Sendable { case blend, additive }

  /// Image (n, c, h, w).
  public var input: Value
  /// Images (k, c, h, w).
  public var pattern: Value
  /// Images (k, c or 1, h, w).
  public var mask: Value
  /// One int32 per sample: non-zero is triggered, others are copied. `nil`: all, with flag 1.
  public var flags: Value?
  /// Image (n, c, h, w).
  public var output: Value
  /// How the pattern meets the image.
  public var kind: Kind
  /// Clips triggered samples to [0, 1].
  public var clip: Bool

  /// Creates the operator.
  public init(
    input: Value, pattern: Value, mask: Value, flags: Value? = nil, output: Value, kind: Kind, clip: Bool
  ) {
    self.input = input
    self.pattern = pattern
    self.mask = mask
    self.flags = flags
    self.output = output
    self.kind = kind
    self.clip = clip
  }

  public var reads: [Value] { [input, pattern, mask] + (flags.map { [$0] } ?? []) }
  public var writes: [Value] { [output] }
}

/// The gradient of ``ApplyTrigger`` without clipping in its patterns: of each, the sum over the samples that took it of
/// `mask * outputGradient`. Both kinds have the same.
public struct ApplyTriggerGradient: OperationDescriptor {
  /// Image (n, c, h, w).
  public var outputGradient: Value
  /// Images (k, c or 1, h, w).
  public var mask: Value
  /// As in the forward operator.
  public var flags: Value?
  /// Images (k, c, h, w).
  public var patternGradient: Value
  /// Adds to `patternGradient` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    outputGradient: Value, mask: Value, flags: Value? = nil, patternGradient: Value, accumulate: Bool = false
  ) {
    self.outputGradient = outputGradient
    self.mask = mask
    self.flags = flags
    self.patternGradient = patternGradient
    self.accumulate = accumulate
  }

  public var reads: [Value] {
    [outputGradient, mask] + (flags.map { [$0] } ?? []) + (accumulate ? [patternGradient] : [])
  }
  public var writes: [Value] { [patternGradient] }
}

/// How far each sample is from the next one of its batch (the first, for the last): the root of the mean squared
/// difference of their elements.
public struct NeighbourDistance: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// float32, one per sample.
  public var output: Value

  /// Creates the operator.
  public init(input: Value, output: Value) {
    self.input = input
    self.output = output
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// The diversity loss of a generator (Nguyen and Tran, 2020) and its gradient: over the neighbours of a batch, the mean
/// of `inputDistance / (outputDistance + 1e-7)`. It is small when different inputs give different outputs.
public struct DiversityLoss: OperationDescriptor {
  /// float32, one per sample: ``NeighbourDistance`` of the generator's inputs and of its outputs.
  public var inputDistances: Value, outputDistances: Value
  /// Image (n, c, h, w): the generator's outputs.
  public var outputs: Value
  /// float32, one element: the loss is added to it.
  public var total: Value
  /// Image (n, c, h, w), written: `gradientScale` times the loss's gradient in the outputs; equal neighbours, where it
  /// has none, contribute nothing.
  public var outputsGradient: Value
  /// The loss's weight.
  public var gradientScale: Float

  /// Creates the operator.
  public init(
    inputDistances: Value, outputDistances: Value, outputs: Value, total: Value, outputsGradient: Value,
    gradientScale: Float = 1
  ) {
    self.inputDistances = inputDistances
    self.outputDistances = outputDistances
    self.outputs = outputs
    self.total = total
    self.outputsGradient = outputsGradient
    self.gradientScale = gradientScale
  }

  public var reads: [Value] { [inputDistances, outputDistances, outputs, total] }
  public var writes: [Value] { [total, outputsGradient] }
}
