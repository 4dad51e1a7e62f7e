/// A square or rectangular pooling window. Padding counts as minus infinity for the maximum and as zeros (which are
/// counted) for the average, as PyTorch's defaults.
public struct PoolGeometry: Hashable, Sendable {
  /// Maximum or average.
  public enum Kind: Hashable, Sendable { case maximum, average }
  /// Maximum or average.
  public var kind: Kind
  /// The window's rows and columns.
  public var kernelHeight: Int, kernelWidth: Int
  /// Pixels between two windows.
  public var stride: Int
  /// Pixels added on each side.
  public var padding: Int

  /// Creates a geometry.
  public init(_ kind: Kind, kernelHeight: Int, kernelWidth: Int, stride: Int, padding: Int = 0) {
    self.kind = kind
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.stride = stride
    self.padding = padding
  }

  /// The shape of the output. Without pixels where the window does not fit.
  public func output(_ input: Shape) -> Shape {
    func extent(_ extent: Int, _ kernel: Int) -> Int {
      windowCount(in: extent, padding: padding, window: kernel, stride: stride)
    }
    return Shape(input.n, input.c, extent(input.h, kernelHeight), extent(input.w, kernelWidth))
  }
}

/// Pooling; a global average is an average over the whole image.
public struct Pool: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Image (n, c, h', w').
  public var output: Value
  /// The window.
  public var geometry: PoolGeometry

  /// Creates the operator.
  public init(input: Value, output: Value, geometry: PoolGeometry) {
    self.input = input
    self.output = output
    self.geometry = geometry
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// The gradient of ``Pool`` in its input. For the maximum it goes to the first largest element of each window in
/// row-major order, found again from the forward input.
public struct PoolGradient: OperationDescriptor {
  /// Image (n, c, h', w').
  public var outputGradient: Value
  /// Image (n, c, h, w): the forward input (only the maximum reads it).
  public var input: Value?
  /// Image (n, c, h, w).
  public var inputGradient: Value
  /// The window.
  public var geometry: PoolGeometry
  /// Adds to `inputGradient` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    outputGradient: Value, input: Value?, inputGradient: Value, geometry: PoolGeometry,
    accumulate: Bool = false
  ) {
    self.outputGradient = outputGradient
    self.input = input
    self.inputGradient = inputGradient
    self.geometry = geometry
    self.accumulate = accumulate
  }

  public var reads: [Value] {
    [outputGradient] + (input.map { [$0] } ?? []) + (accumulate ? [inputGradient] : [])
  }
  public var writes: [Value] { [inputGradient] }

  /// Throws `internal` for a maximum without its input.
  func checkInput() throws {
    guard geometry.kind == .average || input != nil else {
      throw PBEError(.internal, "the gradient of maximum pooling needs the forward input")
    }
  }
}

/// How ``Resize`` interpolates. The bicubic kernel has a = -0.75, as PyTorch's.
public enum Interpolation: Hashable, Sendable { case bilinear, bicubic }

/// Resamples an image to the output's height and width. With `alignCorners` the corner pixels' centres coincide;
/// without, the pixels' areas do (source = (i + 0.5) * in / out - 0.5, for bilinear clamped below at 0).
public struct Resize: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Image (n, c, h', w').
  public var output: Value
  /// The interpolation.
  public var interpolation: Interpolation
  /// See above.
  public var alignCorners: Bool

  /// Creates the operator.
  public init(input: Value, output: Value, interpolation: Interpolation, alignCorners: Bool) {
    self.input = input
    self.output = output
    self.interpolation = interpolation
    self.alignCorners = alignCorners
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// The gradient of bilinear ``Resize`` in its input.
public struct ResizeGradient: OperationDescriptor {
  /// Image (n, c, h', w').
  public var outputGradient: Value
  /// Image (n, c, h, w).
  public var inputGradient: Value
  /// As in the forward operator.
  public var alignCorners: Bool

  /// Creates the operator.
  public init(outputGradient: Value, inputGradient: Value, alignCorners: Bool) {
    self.outputGradient = outputGradient
    self.inputGradient = inputGradient
    self.alignCorners = alignCorners
  }

  public var reads: [Value] { [outputGradient] }
  public var writes: [Value] { [inputGradient] }
}

/// Samples an image bilinearly at the points of a field; zero outside, corners aligned (PyTorch's `grid_sample` with
/// `align_corners=True`, zero padding). The warp of WaNet.
public struct GridSample: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Image (n or 1, 2, h', w'): a point per output pixel, x and then y, -1 to 1 from the centre of the first pixel to
  /// that of the last.
  public var field: Value
  /// Image (n, c, h', w').
  public var output: Value
  /// One int32 per sample: only samples with a non-zero flag are warped (others are copied). `nil`: all.
  public var flags: Value?

  /// Creates the operator.
  public init(input: Value, field: Value, output: Value, flags: Value? = nil) {
    self.input = input
    self.field = field
    self.output = output
    self.flags = flags
  }

  public var reads: [Value] { [input, field] + (flags.map { [$0] } ?? []) }
  public var writes: [Value] { [output] }

  /// Throws `internal` for a size that samples without a flag, which are copied, can't have.
  func checkSizes(input: Shape, output: Shape) throws {
    guard flags == nil || (input.h, input.w) == (output.h, output.w) else {
      throw PBEError(
        .internal, "samples that aren't warped can't change their size from \(input) to \(output)")
    }
  }
}

/// `output = a + b`, elementwise; `output` may be `a` or `b`.
public struct Add: OperationDescriptor {
  /// Tensors of one shape.
  public var a: Value, b: Value, output: Value

  /// Creates the operator.
  public init(a: Value, b: Value, output: Value) {
    self.a = a
    self.b = b
    self.output = output
  }

  public var reads: [Value] { [a, b] }
  public var writes: [Value] { [output] }
}

/// `output = a * b`, elementwise; `output` may be `a` or `b`.
public struct Multiply: OperationDescriptor {
  /// Tensors of one shape and role.
  public var a: Value, b: Value, output: Value

  /// Creates the operator.
  public init(a: Value, b: Value, output: Value) {
    self.a = a
    self.b = b
    self.output = output
  }

  public var reads: [Value] { [a, b] }
  public var writes: [Value] { [output] }
}

/// Inverted dropout: an element is zero with probability `rate`, else divided by `1 - rate`. Applied to a gradient it
/// is its own backward pass, since the mask is a function: element e (in logical CHW order) of sample s is kept when
/// word e % 4 of `philox(counter: (e / 4, s, epoch, purpose), key: seed)` as a uniform number is at least `rate`.
/// `output` may be `input`.
public struct Dropout: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// int32 per sample: its index in the data set.
  public var samples: Value
  /// Image (n, c, h, w).
  public var output: Value
  /// The probability of zero.
  public var rate: Float
  /// The key of the random numbers.
  public var seed: UInt64
  /// A word of the counter that no other use of random numbers has.
  public var purpose: UInt32

  /// Creates the operator.
  public init(input: Value, samples: Value, output: Value, rate: Float, seed: UInt64, purpose: UInt32) {
    self.input = input
    self.samples = samples
    self.output = output
    self.rate = rate
    self.seed = seed
    self.purpose = purpose
  }

  public var reads: [Value] { [input, samples] }
  public var writes: [Value] { [output] }
}

/// Uniform random numbers in [low, high): element e (logical CHW) of sample s is word e % 4 of
/// `philox(counter: (e / 4, s, epoch, purpose), key: seed)`.
public struct RandomUniform: OperationDescriptor {
  /// int32 per sample: its index in the data set.
  public var samples: Value
  /// Image (n, c, h, w).
  public var output: Value
  /// The bounds.
  public var low: Float, high: Float
  /// The key of the random numbers.
  public var seed: UInt64
  /// A word of the counter that no other use of random numbers has.
  public var purpose: UInt32

  /// Creates the operator.
  public init(samples: Value, output: Value, low: Float, high: Float, seed: UInt64, purpose: UInt32) {
    self.samples = samples
    self.output = output
    self.low = low
    self.high = high
    self.seed = seed
    self.purpose = purpose
  }

  public var reads: [Value] { [samples] }
  public var writes: [Value] { [output] }
}

/// Sets every element to `value` (float32 or int32 tensors).
public struct Fill: OperationDescriptor {
  /// The tensor.
  public var output: Value
  /// The element.
  public var value: Float

  /// Creates the operator.
  public init(output: Value, value: Float) {
    self.output = output
    self.value = value
  }

  public var reads: [Value] { [] }
  public var writes: [Value] { [output] }
}

/// Copies a tensor to another of the same shape and type.
public struct Copy: OperationDescriptor {
  /// Tensors of one shape and type.
  public var input: Value, output: Value

  /// Creates the operator.
  public init(input: Value, output: Value) {
    self.input = input
    self.output = output
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}
