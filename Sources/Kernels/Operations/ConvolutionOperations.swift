/// The geometry of a two-dimensional convolution; equal in both directions but for the kernel's extents.
public struct ConvolutionGeometry: Hashable, Sendable {
  /// Rows of the kernel.
  public var kernelHeight: Int
  /// Columns of the kernel.
  public var kernelWidth: Int
  /// Pixels between two applications.
  public var stride: Int
  /// Zeros around the image.
  public var padding: Int
  /// Distance between two taps of the kernel.
  public var dilation: Int
  /// Groups of channels that don't see each other.
  public var groups: Int

  /// Creates a geometry.
  public init(
    kernelHeight: Int, kernelWidth: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1, groups: Int = 1
  ) {
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.stride = stride
    self.padding = padding
    self.dilation = dilation
    self.groups = groups
  }

  /// The shape of the output: `input` is NCHW, `channels` the output channels. Without pixels where the kernel does not fit.
  public func output(_ input: Shape, channels: Int) -> Shape {
    func extent(_ extent: Int, _ kernel: Int) -> Int {
      windowCount(in: extent, padding: padding, window: dilation * (kernel - 1) + 1, stride: stride)
    }
    return Shape(input.n, channels, extent(input.h, kernelHeight), extent(input.w, kernelWidth))
  }
}

/// How many windows lie in an extent with padding at both ends; none where one is larger.
func windowCount(in extent: Int, padding: Int, window: Int, stride: Int) -> Int {
  let room = extent + 2 * padding - window
  return room < 0 ? 0 : room / stride + 1
}

/// A per-channel scale and shift, both vectors of the input's channels.
public struct ChannelAffine: Hashable, Sendable {
  /// Factor per channel.
  public var scale: Value
  /// Addend per channel.
  public var shift: Value

  /// Creates the pair.
  public init(scale: Value, shift: Value) {
    self.scale = scale
    self.shift = shift
  }
}

/// An elementwise function. Slope and alpha as in PyTorch.
public enum Activation: Hashable, Sendable {
  case identity, relu, leakyReLU(slope: Float), elu(alpha: Float), tanh, sigmoid, silu, hardSwish

  /// The code that the kernels use (`ACT_...` in kernels.cl and cpu_kernels.h).
  var code: Int32 {
    switch self {
    case .identity: 0
    case .relu: 1
    case .leakyReLU: 2
    case .elu: 3
    case .tanh: 4
    case .sigmoid: 5
    case .silu: 6
    case .hardSwish: 7
    }
  }

  /// It takes a comparison and a product, no function of the driver's.
  var isCheap: Bool {
    switch self {
    case .identity, .relu, .leakyReLU: true
    case .elu, .tanh, .sigmoid, .silu, .hardSwish: false
    }
  }

  /// The slope of leaky ReLU or the alpha of ELU; else zero.
  var parameter: Float {
    switch self {
    case .leakyReLU(let slope): slope
    case .elu(let alpha): alpha
    default: 0
    }
  }
}

/// What happens to a convolution's input on load: `activation(scale * x + shift)`. Padding is zero after it.
public struct Prologue: Hashable, Sendable {
  /// The per-channel scale and shift; `nil` is the identity.
  public var affine: ChannelAffine?
  /// The elementwise function that follows.
  public var activation: Activation

  /// Creates a prologue.
  public init(affine: ChannelAffine? = nil, activation: Activation = .identity) {
    self.affine = affine
    self.activation = activation
  }

  var reads: [Value] { affine.map { [$0.scale, $0.shift] } ?? [] }
}

/// `output = convolve(prologue(input), filter) + bias + residual`.
public struct Convolution: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Filter (k, c / groups, r, s).
  public var filter: Value
  /// Vector of k.
  public var bias: Value?
  /// Image (n, k, h', w').
  public var output: Value
  /// Stride, padding, dilation, groups.
  public var geometry: ConvolutionGeometry
  /// Applied to the input on load.
  public var prologue: Prologue?
  /// Image of the output's shape, added to the result.
  public var residual: Value?

  /// Creates the operator.
  public init(
    input: Value, filter: Value, bias: Value? = nil, output: Value, geometry: ConvolutionGeometry,
    prologue: Prologue? = nil, residual: Value? = nil
  ) {
    self.input = input
    self.filter = filter
    self.bias = bias
    self.output = output
    self.geometry = geometry
    self.prologue = prologue
    self.residual = residual
  }

  public var reads: [Value] {
    [input, filter] + [bias, residual].compactMap { $0 } + (prologue?.reads ?? [])
  }
  public var writes: [Value] { [output] }
}

/// The gradient of a convolution in its (already transformed) input.
public struct ConvolutionInputGradient: OperationDescriptor {
  /// Image (n, k, h', w').
  public var outputGradient: Value
  /// Filter (k, c / groups, r, s).
  public var filter: Value
  /// Image (n, c, h, w).
  public var inputGradient: Value
  /// Stride, padding, dilation, groups.
  public var geometry: ConvolutionGeometry
  /// Adds to `inputGradient` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    outputGradient: Value, filter: Value, inputGradient: Value, geometry: ConvolutionGeometry,
    accumulate: Bool = false
  ) {
    self.outputGradient = outputGradient
    self.filter = filter
    self.inputGradient = inputGradient
    self.geometry = geometry
    self.accumulate = accumulate
  }

  /// What a backend has fused into this operator; no plan asks for it.
  var slope: FusedSlope?

  public var reads: [Value] {
    [outputGradient, filter] + (accumulate ? [inputGradient] : []) + (slope?.reads ?? [])
  }
  public var writes: [Value] { [inputGradient] }
}

/// An ``AffineActivationGradient`` fused into the input gradient before it:
/// `inputGradient (+)= (convolution + addend) * activation'(scale * input + shift) * scale`.
struct FusedSlope: Sendable {
  var input: Value
  var affine: ChannelAffine?
  var activation: Activation
  /// What the convolution's own result would have been added to.
  var addend: Value?

  var reads: [Value] {
    [input] + (affine.map { [$0.scale, $0.shift] } ?? []) + (addend.map { [$0] } ?? [])
  }
}

/// The gradient of a convolution in its filter, from `prologue(input)`.
public struct ConvolutionFilterGradient: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Image (n, k, h', w').
  public var outputGradient: Value
  /// Filter (k, c / groups, r, s).
  public var filterGradient: Value
  /// Stride, padding, dilation, groups.
  public var geometry: ConvolutionGeometry
  /// Applied to the input on load.
  public var prologue: Prologue?

  /// Creates the operator.
  public init(
    input: Value, outputGradient: Value, filterGradient: Value, geometry: ConvolutionGeometry,
    prologue: Prologue? = nil
  ) {
    self.input = input
    self.outputGradient = outputGradient
    self.filterGradient = filterGradient
    self.geometry = geometry
    self.prologue = prologue
  }

  public var reads: [Value] { [input, outputGradient] + (prologue?.reads ?? []) }
  public var writes: [Value] { [filterGradient] }
}

/// The sum of an image over samples and pixels, per channel: a bias's gradient.
public struct ChannelSum: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// Vector of c.
  public var output: Value

  /// Creates the operator.
  public init(input: Value, output: Value) {
    self.input = input
    self.output = output
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// `output = op(a) * op(b) + bias`, or `output += ...`: matrices (rows, columns, 1, 1) of role `plain`, or images of
/// one pixel.
public struct MatrixProduct: OperationDescriptor {
  /// (m, k), or (k, m) when transposed.
  public var a: Value
  /// (k, n), or (n, k) when transposed.
  public var b: Value
  /// (m, n).
  public var output: Value
  /// `a` is stored transposed.
  public var transposeA: Bool
  /// `b` is stored transposed.
  public var transposeB: Bool
  /// Vector of n, added to every row.
  public var bias: Value?
  /// Adds to `output` rather than replacing it.
  public var accumulate: Bool

  /// Creates the operator.
  public init(
    a: Value, b: Value, output: Value, transposeA: Bool = false, transposeB: Bool = false, bias: Value? = nil,
    accumulate: Bool = false
  ) {
    self.a = a
    self.b = b
    self.output = output
    self.transposeA = transposeA
    self.transposeB = transposeB
    self.bias = bias
    self.accumulate = accumulate
  }

  public var reads: [Value] { [a, b] + (bias.map { [$0] } ?? []) + (accumulate ? [output] : []) }
  public var writes: [Value] { [output] }
}
