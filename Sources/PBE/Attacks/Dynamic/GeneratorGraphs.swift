import Kernels

extension Graph {
  /// A convolution with bias, batch norm and, if wanted, ReLU.
  private mutating func generatorBlock(_ x: Int, _ name: String, channels: Int, activates: Bool = true) -> Int
  {
    let sums = convolution(x, "\(name).conv", channels: channels, kernel: 3, padding: 1, bias: true)
    let normalised = batchNorm(sums, "\(name).norm", momentum: 0.05)
    return activates ? activation(normalised) : normalised
  }

  /// `tanh(x) / 2 + 0.5`.
  private mutating func unitTanh(_ x: Int) -> Int {
    normaliseAll(activation(x, .tanh), mean: -1, deviation: 2)
  }

  /// `(x - mean) / deviation` with one number for all channels.
  private mutating func normaliseAll(_ x: Int, mean: Float, deviation: Float) -> Int {
    let channels = nodes[x].shape.c
    return normalise(
      x, mean: Array(repeating: mean, count: channels),
      deviation: Array(repeating: deviation, count: channels))
  }

  /// The encoder-decoder that both generators of the input-aware attack share, as in its released code. The caller has
  /// checked that height and width are divisible by 2 to the power of `levels`.
  private init(encoderDecoder image: Shape, width: Int, levels: Int, output: Int) {
    self.init(channels: image.c, height: image.h, width: image.w)
    var x = 0
    for level in 0..<levels {
      for step in 0..<2 { x = generatorBlock(x, "down\(level).\(step)", channels: width << level) }
      x = pool(x, .maximum, kernel: 2)
    }
    x = generatorBlock(x, "middle", channels: width << (levels - 1))
    for level in (0..<levels).reversed() {
      x = generatorBlock(upsample(x), "up\(level).0", channels: width << level)
      x =
        level > 0
        ? generatorBlock(x, "up\(level).1", channels: width << (level - 1))
        : generatorBlock(x, "up0.1", channels: output, activates: false)
    }
  }

  /// The pattern generator: an image in (0, 1) of the input's channels.
  static func pattern(for image: Shape, width: Int, levels: Int) -> Graph {
    var graph = Graph(encoderDecoder: image, width: width, levels: levels, output: image.c)
    _ = graph.unitTanh(graph.nodes.count - 1)
    return graph
  }

  /// The mask generator: one channel in (0, 1), nearly all of it close to 0 or 1. With m in (0, 1) as the pattern's
  /// output it is `tanh(20 m - 10) / 2 + 0.5`, where `20 m - 10` is ten times the first tanh.
  static func mask(for image: Shape, width: Int, levels: Int) -> Graph {
    var graph = Graph(encoderDecoder: image, width: width, levels: levels, output: 1)
    let steep = graph.normaliseAll(
      graph.activation(graph.nodes.count - 1, .tanh), mean: 0, deviation: 0.1)
    _ = graph.unitTanh(steep)
    return graph
  }
}
