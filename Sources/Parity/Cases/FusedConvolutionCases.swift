import Kernels

extension Activation {
  /// Every activation, with the attributes that networks use and others.
  static let everyCase: [Activation] = [
    .identity, .relu, .leakyReLU(slope: 0.1), .elu(alpha: 1), .elu(alpha: 0.5), .tanh, .sigmoid, .silu,
    .hardSwish,
  ]
}

extension CaseBuilder {
  /// A per-channel scale and shift.
  mutating func affine(_ channels: Int) -> (scale: Tensor, shift: Tensor) {
    (positiveVector(channels, "scale"), vector(channels, "shift", scale: 0.5))
  }
}

extension Program {
  /// The values of a per-channel scale and shift.
  mutating func bind(_ affine: (scale: Tensor, shift: Tensor)) -> ChannelAffine {
    ChannelAffine(scale: bind(affine.scale), shift: bind(affine.shift))
  }
}

/// What is fused with a convolution.
private struct Fusion {
  var bias = false
  var residual = false
  var affine = false
  var activation: Activation?

  var name: String {
    var parts: [String] = []
    if affine { parts.append("affine") }
    if let activation { parts.append("\(activation)") }
    if bias { parts.append("bias") }
    if residual { parts.append("residual") }
    return parts.joined(separator: " ")
  }
}

extension ParityTable {
  /// Convolutions with a prologue, bias, residual, accumulation.
  static let fusedConvolutions: [OperatorCase] = {
    // One shape for each kind of kernel that a backend may have.
    let same = ConvolutionShape.same(2, 16, 8, 8, to: 16)
    let odd = ConvolutionShape.same(2, 16, 7, 9, to: 32)
    let strided = ConvolutionShape(2, 16, 9, 9, to: 24, 3, 3, stride: 2, padding: 1)
    let point = ConvolutionShape(2, 16, 8, 8, to: 32, 1, 1, stride: 2)
    let grouped = ConvolutionShape(2, 8, 8, 8, to: 12, 3, 3, padding: 1, groups: 4)
    let depthwise = ConvolutionShape(2, 16, 7, 7, to: 16, 3, 3, padding: 1, groups: 16)
    let dilated = ConvolutionShape(1, 5, 9, 9, to: 7, 3, 3, padding: 2, dilation: 2)
    let pointwise = ConvolutionShape(3, 20, 5, 5, to: 28, 1, 1)
    // Their results have few columns: forward, and of the input gradient.
    let toFew = ConvolutionShape.same(2, 16, 7, 9, to: 3)
    let fromFew = ConvolutionShape.same(2, 3, 7, 9, to: 16)
    let shapes = [same, odd, strided, point, grouped, depthwise, dilated, pointwise, toFew, fromFew]
    var cases: [OperatorCase] = []
    for shape in shapes {
      for fusion in [
        Fusion(bias: true), Fusion(residual: true), Fusion(affine: true), Fusion(activation: .relu),
        Fusion(bias: true, residual: true, affine: true, activation: .relu),
      ] {
        cases.append(fusedConvolution(shape, fusion))
      }
      cases.append(fusedFilterGradient(shape, Fusion(affine: true, activation: .relu)))
      cases.append(inputGradient(shape, accumulate: true))
    }
    for activation in Activation.everyCase {
      for shape in [odd, strided, grouped] {
        let fusion = Fusion(affine: true, activation: activation)
        cases.append(fusedConvolution(shape, fusion))
        if shape.name != strided.name || activation != .relu {
          cases.append(fusedFilterGradient(shape, fusion))
        }
      }
    }
    var names: Set<String> = []
    return cases.filter { names.insert($0.name).inserted }
  }()

  private static func prologue(
    _ fusion: Fusion, _ affine: (scale: Tensor, shift: Tensor)?, _ program: inout Program
  ) -> Prologue? {
    guard affine != nil || fusion.activation != nil else { return nil }
    let bound = affine.map { program.bind($0) }
    return Prologue(affine: bound, activation: fusion.activation ?? .identity)
  }

  private static func fusedConvolution(_ shape: ConvolutionShape, _ fusion: Fusion) -> OperatorCase {
    OperatorCase("convolution/\(shape.name), \(fusion.name)") { b in
      let (x, w, y) = (b.image(shape.input), b.filter(shape.filter), b.output(shape.output))
      let bias = fusion.bias ? b.vector(shape.channels, "bias") : nil
      let residual = fusion.residual ? b.image(shape.output, "residual") : nil
      let affine = fusion.affine ? b.affine(shape.input.c) : nil
      b.run { p in
        p.append(
          .convolution(
            Convolution(
              input: p.bind(x), filter: p.bind(w), bias: bias.map { p.bind($0) }, output: p.bind(y),
              geometry: shape.geometry, prologue: prologue(fusion, affine, &p),
              residual: residual.map { p.bind($0) })))
      }
    }
  }

  private static func fusedFilterGradient(_ shape: ConvolutionShape, _ fusion: Fusion) -> OperatorCase {
    OperatorCase("convolutionFilterGradient/\(shape.name), \(fusion.name)") { b in
      let (x, dy) = (b.image(shape.input), b.image(shape.output, "dy"))
      let dw = b.output(shape.filter, "dw", role: .filter)
      let affine = fusion.affine ? b.affine(shape.input.c) : nil
      b.run { p in
        p.append(
          .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: p.bind(x), outputGradient: p.bind(dy), filterGradient: p.bind(dw),
              geometry: shape.geometry,
              prologue: prologue(fusion, affine, &p))))
      }
    }
  }
}
