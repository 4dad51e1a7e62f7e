import Kernels

/// One layer of a network. Attributes are PyTorch's, so that a `state_dict` fits without conversion.
public enum Layer: Hashable, Sendable {
  /// The images, in [0, 1].
  case input
  /// `(x - mean) / deviation` per channel: the input normalisation, inside the network so that perturbation sizes
  /// stay in pixels; or any other constant map.
  case normalise(mean: [Float], deviation: [Float])
  case convolution(channels: Int, geometry: ConvolutionGeometry, bias: Bool)
  /// Batch norm with epsilon 1e-5; `momentum` is the weight of a new batch in the running statistics.
  case batchNorm(momentum: Float)
  case activation(Activation)
  case pool(PoolGeometry)
  /// Bilinear, to `factor` times the height and width; areas coincide (PyTorch's `align_corners=False`).
  case upsample(factor: Int)
  /// Fully connected; flattens its input in CHW order.
  case linear(features: Int)
  case add
  case dropout(rate: Float)
}

/// A layer in a ``Graph``, with the nodes it reads.
public struct Node: Hashable, Sendable {
  /// What it computes.
  public let layer: Layer
  /// The nodes it reads, by position.
  public let inputs: [Int]
  /// The prefix of its parameters' names in a PyTorch `state_dict`; empty when it has none.
  public let name: String
  /// The shape of one sample's output; `n` is 1.
  public let shape: Shape
}

/// A network as a value: layers in an order in which each reads only earlier ones. It knows no device and holds no
/// weights; the last node's output is the network's: a classifier's logits, a generator's images.
public struct Graph: Hashable, Sendable {
  /// The layers; the first is the input.
  public private(set) var nodes: [Node]

  /// A network that so far only has an input of the given channels and size.
  public init(channels: Int, height: Int, width: Int) {
    nodes = [Node(layer: .input, inputs: [], name: "", shape: Shape(1, channels, height, width))]
  }

  /// The shape of one input image; `n` is 1.
  public var input: Shape { nodes[0].shape }
  /// The number of classes.
  public var classes: Int { nodes[nodes.count - 1].shape.c }
  /// The node that the last one reads: of a classifier, the features that its final linear layer takes.
  public var penultimate: Int { nodes[nodes.count - 1].inputs.first ?? 0 }
  /// The name of the last node if that is a linear layer, as a classifier's is.
  var finalLinear: String? {
    guard let last = nodes.last, case .linear = last.layer else { return nil }
    return last.name
  }

  private mutating func append(_ layer: Layer, _ inputs: [Int], _ name: String, _ shape: Shape) -> Int {
    nodes.append(Node(layer: layer, inputs: inputs, name: name, shape: shape))
    return nodes.count - 1
  }

  /// Adds the input normalisation.
  public mutating func normalise(_ x: Int, mean: [Float], deviation: [Float]) -> Int {
    append(.normalise(mean: mean, deviation: deviation), [x], "", nodes[x].shape)
  }

  /// Adds a convolution with a square kernel.
  public mutating func convolution(
    _ x: Int, _ name: String, channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0,
    bias: Bool = false
  ) -> Int {
    let geometry = ConvolutionGeometry(
      kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: padding)
    return append(
      .convolution(channels: channels, geometry: geometry, bias: bias), [x], name,
      geometry.output(nodes[x].shape, channels: channels))
  }

  /// Adds batch norm; `momentum` is the weight of a new batch in the running statistics.
  public mutating func batchNorm(_ x: Int, _ name: String, momentum: Float = 0.1) -> Int {
    append(.batchNorm(momentum: momentum), [x], name, nodes[x].shape)
  }

  /// Adds an elementwise function.
  public mutating func activation(_ x: Int, _ activation: Activation = .relu) -> Int {
    append(.activation(activation), [x], "", nodes[x].shape)
  }

  /// Adds a pooling layer with a square window.
  public mutating func pool(_ x: Int, _ kind: PoolGeometry.Kind, kernel: Int) -> Int {
    let geometry = PoolGeometry(kind, kernelHeight: kernel, kernelWidth: kernel, stride: kernel)
    return append(.pool(geometry), [x], "", geometry.output(nodes[x].shape))
  }

  /// Adds bilinear upsampling by a whole factor.
  public mutating func upsample(_ x: Int, factor: Int = 2) -> Int {
    let shape = nodes[x].shape
    return append(.upsample(factor: factor), [x], "", Shape(1, shape.c, shape.h * factor, shape.w * factor))
  }

  /// Adds a fully connected layer.
  public mutating func linear(_ x: Int, _ name: String, features: Int) -> Int {
    append(.linear(features: features), [x], name, Shape(1, features))
  }

  /// Adds the sum of two nodes of one shape.
  public mutating func add(_ a: Int, _ b: Int) -> Int { append(.add, [a, b], "", nodes[a].shape) }

  /// Adds dropout, which acts in training only.
  public mutating func dropout(_ x: Int, rate: Float) -> Int {
    append(.dropout(rate: rate), [x], "", nodes[x].shape)
  }

  /// The node that a convolution can add to its result, because nothing but their sum reads it.
  func residual(ofConvolution index: Int) -> Int? {
    guard case .convolution = nodes[index].layer else { return nil }
    let readers = nodes.filter { $0.inputs.contains(index) }
    guard readers.count == 1, readers[0].layer == .add, let other = readers[0].inputs.min(), other < index
    else { return nil }
    return other
  }

  /// Multiply-adds of one forward pass over one image, in convolutions and linear layers.
  public var multiplyAdds: Int {
    nodes.reduce(0) { sum, node in
      switch node.layer {
      case .convolution(_, let geometry, _):
        sum + node.shape.count * geometry.kernelHeight * geometry.kernelWidth
          * (nodes[node.inputs[0]].shape.c / geometry.groups)
      case .linear(let features): sum + features * nodes[node.inputs[0]].shape.count
      default: sum
      }
    }
  }
}
