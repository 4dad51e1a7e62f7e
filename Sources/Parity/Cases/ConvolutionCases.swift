import Kernels

/// The shapes of one convolution.
struct ConvolutionShape: Sendable {
  var input: Shape
  var channels: Int
  var geometry: ConvolutionGeometry

  init(
    _ n: Int, _ c: Int, _ h: Int, _ w: Int, to k: Int, _ r: Int, _ s: Int, stride: Int = 1, padding: Int = 0,
    dilation: Int = 1, groups: Int = 1
  ) {
    input = Shape(n, c, h, w)
    channels = k
    geometry = ConvolutionGeometry(
      kernelHeight: r, kernelWidth: s, stride: stride, padding: padding, dilation: dilation, groups: groups)
  }

  var filter: Shape {
    Shape(channels, input.c / geometry.groups, geometry.kernelHeight, geometry.kernelWidth)
  }
  var output: Shape { geometry.output(input, channels: channels) }
  var name: String {
    let g = geometry
    var name = "\(input) to \(channels), \(g.kernelHeight)x\(g.kernelWidth)"
    if g.stride != 1 { name += " stride \(g.stride)" }
    if g.padding != 0 { name += " padding \(g.padding)" }
    if g.dilation != 1 { name += " dilation \(g.dilation)" }
    if g.groups != 1 { name += " groups \(g.groups)" }
    return name
  }

  /// 3x3, stride 1, padding 1: what Winograd's algorithm takes.
  static func same(_ n: Int, _ c: Int, _ h: Int, _ w: Int, to k: Int) -> Self {
    Self(n, c, h, w, to: k, 3, 3, padding: 1)
  }

  /// The stages of PreActResNet-18 at width 8, 16 and 64, with small batches.
  static let stages: [Self] = [
    same(2, 3, 32, 32, to: 8), same(2, 8, 32, 32, to: 8),
    Self(2, 8, 32, 32, to: 16, 3, 3, stride: 2, padding: 1),
    Self(2, 8, 32, 32, to: 16, 1, 1, stride: 2), same(2, 16, 16, 16, to: 16), same(2, 32, 8, 8, to: 32),
    Self(2, 32, 8, 8, to: 64, 3, 3, stride: 2, padding: 1), Self(2, 32, 8, 8, to: 64, 1, 1, stride: 2),
    same(5, 64, 4, 4, to: 64), same(2, 16, 32, 32, to: 16), same(3, 32, 16, 16, to: 32),
    same(2, 64, 8, 8, to: 64),
    same(3, 128, 4, 4, to: 128), Self(2, 64, 8, 8, to: 128, 3, 3, stride: 2, padding: 1),
    same(1, 3, 32, 32, to: 64), same(1, 64, 32, 32, to: 64), same(1, 128, 16, 16, to: 128),
    same(1, 256, 8, 8, to: 256), Self(1, 256, 8, 8, to: 512, 1, 1, stride: 2), same(1, 512, 4, 4, to: 512),
  ]

  /// Sizes that no tile divides, odd channels, one pixel, stride 2 on odd sizes, dilation, groups.
  static let awkward: [Self] = [
    same(2, 16, 7, 7, to: 16), same(1, 16, 28, 28, to: 16), same(2, 16, 9, 5, to: 32),
    same(1, 32, 6, 10, to: 48),
    same(1, 16, 1, 1, to: 16), same(17, 16, 2, 3, to: 16), same(3, 8, 7, 9, to: 5), same(5, 7, 4, 4, to: 9),
    same(1, 17, 5, 6, to: 19), same(2, 48, 12, 12, to: 16), same(2, 16, 8, 9, to: 3),
    same(1, 32, 6, 7, to: 4),
    Self(1, 4, 28, 28, to: 6, 5, 5, padding: 2), Self(2, 3, 33, 31, to: 8, 7, 7, stride: 2, padding: 3),
    Self(2, 8, 13, 13, to: 12, 3, 3), Self(2, 16, 9, 9, to: 16, 3, 3),
    Self(2, 16, 7, 7, to: 16, 3, 3, padding: 2),
    Self(2, 8, 16, 16, to: 8, 3, 3, padding: 1, groups: 8),
    Self(2, 8, 16, 16, to: 12, 3, 3, stride: 2, padding: 1, groups: 4),
    Self(1, 32, 9, 9, to: 32, 3, 3, stride: 2, padding: 1, groups: 32),
    Self(2, 6, 8, 8, to: 12, 3, 3, padding: 1, groups: 6),
    Self(2, 32, 7, 7, to: 32, 3, 3, padding: 1, groups: 2),
    Self(1, 24, 14, 14, to: 24, 5, 5, stride: 2, padding: 2, groups: 24),
    Self(1, 4, 15, 15, to: 4, 3, 3, padding: 2, dilation: 2),
    Self(1, 16, 11, 12, to: 16, 3, 3, padding: 3, dilation: 3), Self(2, 3, 8, 8, to: 4, 3, 1),
    Self(2, 5, 6, 9, to: 3, 1, 5), Self(1, 1, 1, 1, to: 1, 1, 1), Self(1, 33, 1, 1, to: 10, 1, 1),
    Self(2, 2, 2, 2, to: 3, 5, 5, padding: 2), Self(2, 3, 16, 16, to: 16, 4, 4, stride: 4),
    Self(2, 4, 10, 10, to: 6, 2, 2, stride: 3), Self(3, 16, 15, 17, to: 32, 3, 3, stride: 2, padding: 1),
    Self(2, 16, 15, 15, to: 24, 1, 1, stride: 2), Self(4, 24, 5, 5, to: 40, 1, 1),
    Self(1, 3, 40, 24, to: 20, 11, 11, stride: 4, padding: 2),
  ]
}

extension ParityTable {
  /// Plain convolutions: forward and both gradients of every shape.
  static let convolutions: [OperatorCase] =
    (ConvolutionShape.stages + ConvolutionShape.awkward).flatMap {
      [convolution($0), inputGradient($0), filterGradient($0)]
    }

  static func convolution(_ shape: ConvolutionShape) -> OperatorCase {
    OperatorCase("convolution/\(shape.name)") { b in
      let (x, w, y) = (b.image(shape.input), b.filter(shape.filter), b.output(shape.output))
      b.run { p in
        p.append(
          .convolution(
            Convolution(input: p.bind(x), filter: p.bind(w), output: p.bind(y), geometry: shape.geometry)))
      }
    }
  }

  static func inputGradient(_ shape: ConvolutionShape, accumulate: Bool = false) -> OperatorCase {
    OperatorCase("convolutionInputGradient/\(shape.name)\(accumulate ? ", accumulate" : "")") { b in
      let (dy, w) = (b.image(shape.output, "dy"), b.filter(shape.filter))
      let dx = accumulate ? b.image(shape.input, "dx") : b.output(shape.input, "dx")
      b.run { p in
        p.append(
          .convolutionInputGradient(
            ConvolutionInputGradient(
              outputGradient: p.bind(dy), filter: p.bind(w), inputGradient: p.bind(dx),
              geometry: shape.geometry,
              accumulate: accumulate)))
      }
    }
  }

  static func filterGradient(_ shape: ConvolutionShape) -> OperatorCase {
    OperatorCase("convolutionFilterGradient/\(shape.name)") { b in
      let (x, dy) = (b.image(shape.input), b.image(shape.output, "dy"))
      let dw = b.output(shape.filter, "dw", role: .filter)
      b.run { p in
        p.append(
          .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: p.bind(x), outputGradient: p.bind(dy), filterGradient: p.bind(dw),
              geometry: shape.geometry)))
      }
    }
  }
}
