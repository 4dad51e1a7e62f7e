import Kernels

/// One entry of a network's PyTorch `state_dict`.
public struct ParameterSpecification: Hashable, Sendable {
  /// What the entry is, and so how it is initialised and whether it is trained.
  public enum Kind: Hashable, Sendable {
    case weight, bias, gamma, beta, runningMean, runningVariance
  }

  /// The full name in the `state_dict`.
  public let name: String
  /// The shape in the `state_dict`.
  public let stateShape: [Int]
  /// The shape on the device; the same elements in the same order.
  public let shape: Shape
  /// How it lies on the device.
  public let role: TensorRole
  /// What it is.
  public let kind: Kind
  /// Inputs of one output: the scale of the initial values.
  public let fanIn: Int

  /// Whether the optimizer changes it.
  public var isTrained: Bool { kind != .runningMean && kind != .runningVariance }
}

extension Graph {
  /// The entries of one node, in PyTorch's order.
  public func parameters(of index: Int) -> [ParameterSpecification] {
    let node = nodes[index]
    func vector(_ suffix: String, _ kind: ParameterSpecification.Kind, _ count: Int, fanIn: Int = 1)
      -> ParameterSpecification
    {
      ParameterSpecification(
        name: "\(node.name).\(suffix)", stateShape: [count], shape: .vector(count), role: .plain, kind: kind,
        fanIn: fanIn)
    }
    switch node.layer {
    case .convolution(let channels, let geometry, let bias):
      let inputs = nodes[node.inputs[0]].shape.c / geometry.groups
      let shape = Shape(channels, inputs, geometry.kernelHeight, geometry.kernelWidth)
      let fanIn = shape.count / channels
      let weight = ParameterSpecification(
        name: "\(node.name).weight", stateShape: [shape.n, shape.c, shape.h, shape.w], shape: shape,
        role: .filter, kind: .weight, fanIn: fanIn)
      return bias ? [weight, vector("bias", .bias, channels, fanIn: fanIn)] : [weight]
    case .batchNorm:
      let channels = node.shape.c
      return [
        vector("weight", .gamma, channels), vector("bias", .beta, channels),
        vector("running_mean", .runningMean, channels), vector("running_var", .runningVariance, channels),
      ]
    case .linear(let features):
      let input = nodes[node.inputs[0]].shape
      // Over an image, a linear layer is a convolution by a kernel as large as the image: PyTorch's flattened order
      // of the weights is that kernel's.
      let isImage = input.h * input.w > 1
      return [
        ParameterSpecification(
          name: "\(node.name).weight", stateShape: [features, input.count],
          shape: isImage ? Shape(features, input.c, input.h, input.w) : Shape(features, input.count),
          role: isImage ? .filter : .plain, kind: .weight, fanIn: input.count),
        vector("bias", .bias, features, fanIn: input.count),
      ]
    default: return []
    }
  }

  /// Every entry of the `state_dict`, in PyTorch's order but without `num_batches_tracked`.
  public var parameters: [ParameterSpecification] { nodes.indices.flatMap { parameters(of: $0) } }
}
