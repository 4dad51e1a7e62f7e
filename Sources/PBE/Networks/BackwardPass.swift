import Kernels

/// Writes the backward pass of a ``Lowering`` whose forward pass is written.
struct BackwardPass {
  var lowering: Lowering
  /// Gradients of the parameters by name; empty when only the input's gradient is wanted.
  let parameterGradients: [String: Tensor]
  /// Whether the images' gradient is wanted.
  let wantsInput: Bool

  private var gradients: [Int: Value] = [:]
  /// The nodes that share each gradient.
  private var holders: [Value: Set<Int>] = [:]
  private var done: Set<Int> = []
  private var needed: Set<Int> = []

  private var graph: Graph { lowering.graph }

  init(_ lowering: Lowering, parameterGradients: [String: Tensor], wantsInput: Bool) {
    self.lowering = lowering
    self.parameterGradients = parameterGradients
    self.wantsInput = wantsInput
  }

  /// Writes the operators, from the gradient in the network's output; returns the program and the images' gradient, if
  /// wanted.
  mutating func write(outputGradient: Value) throws -> (program: Program, inputGradient: Value?) {
    for (index, node) in graph.nodes.enumerated() {
      let trains = !parameterGradients.isEmpty && !graph.parameters(of: index).isEmpty
      if trains || node.inputs.contains(where: needed.contains) || (index == 0 && wantsInput) {
        needed.insert(index)
      }
    }
    share(outputGradient, with: graph.nodes.count - 1)
    for index in graph.nodes.indices.reversed() where gradients[index] != nil && !done.contains(index) {
      if index > 0, let gradient = gradients[index] { try backward(index, gradient) }
      done.insert(index)
    }
    return (lowering.program, gradients[0])
  }

  // MARK: - Where gradients meet

  /// Gives `node` a gradient that another node's operators computed.
  private mutating func share(_ gradient: Value, with node: Int) {
    guard needed.contains(node) else { return }
    if gradients[node] != nil {
      let sum = writable(node)
      lowering.program.append(.add(Add(a: sum, b: gradient, output: sum)))
    } else {
      gradients[node] = gradient
      holders[gradient, default: []].insert(node)
    }
  }

  /// A node's gradient, to be added to: a copy when a node that is still to come shares it.
  private mutating func writable(_ node: Int) -> Value {
    guard let gradient = gradients[node] else {
      let gradient = lowering.program.temporary(lowering.shape(node))
      gradients[node] = gradient
      holders[gradient] = [node]
      return gradient
    }
    let others = holders[gradient, default: []].subtracting(done).subtracting([node])
    if others.isEmpty { return gradient }
    let copy = lowering.program.temporary(lowering.shape(node))
    lowering.program.append(.copy(Copy(input: gradient, output: copy)))
    gradients[node] = copy
    holders[copy] = [node]
    return copy
  }

  /// Where an operator writes `node`'s gradient, and whether it adds to what is there; `nil` when nobody needs it.
  private mutating func target(_ node: Int) -> (value: Value, accumulate: Bool)? {
    guard needed.contains(node) else { return nil }
    let accumulate = gradients[node] != nil
    return (writable(node), accumulate)
  }

  // MARK: - Layers

  private mutating func backward(_ index: Int, _ gradient: Value) throws {
    let node = graph.nodes[index]
    let source = node.inputs[0]
    switch node.layer {
    case .input: break
    case .convolution(_, let geometry, let bias):
      try convolution(index, source, gradient, geometry, bias: bias)
    case .linear:
      if let geometry = Lowering.imageGeometry(graph.nodes[source].shape) {
        try convolution(index, source, gradient, geometry, bias: true)
      } else {
        try linear(index, source, gradient)
      }
    case .add: node.inputs.forEach { share(gradient, with: $0) }
    case .pool(let geometry):
      guard let target = target(source) else { return }
      lowering.program.append(
        .poolGradient(
          PoolGradient(
            outputGradient: gradient, input: geometry.kind == .maximum ? lowering.value(source) : nil,
            inputGradient: target.value, geometry: geometry, accumulate: target.accumulate)))
    case .upsample:
      guard needed.contains(source) else { return }
      let small = lowering.program.temporary(lowering.shape(source))
      lowering.program.append(
        .resizeGradient(ResizeGradient(outputGradient: gradient, inputGradient: small, alignCorners: false)))
      share(small, with: source)
    case .dropout(let rate):
      guard lowering.mode == .training, let samples = lowering.samples else {
        share(gradient, with: source)
        return
      }
      let masked = lowering.program.temporary(lowering.shape(index))
      lowering.program.append(
        .dropout(lowering.dropout(index, rate, from: gradient, samples, to: masked)))
      share(masked, with: source)
    case .activation(let activation):
      // Batch norm read by this activation alone is done in the same pass.
      if case .batchNorm = graph.nodes[source].layer,
        lowering.forms[source].value == lowering.forms[index].value,
        gradients[source] == nil,
        !graph.nodes.enumerated().contains(where: { $0 != index && $1.inputs.contains(source) })
      {
        try batchNorm(source, gradient, activation)
        done.insert(source)
      } else {
        affine(index, source, gradient, nil, activation, input: lowering.value(source))
      }
    case .batchNorm: try batchNorm(index, gradient, .identity)
    case .normalise:
      affine(
        index, source, gradient, lowering.forms[index].prologue?.affine, .identity,
        input: lowering.value(source))
    }
  }

  private mutating func affine(
    _ index: Int, _ source: Int, _ gradient: Value, _ affine: ChannelAffine?, _ activation: Activation,
    input: Value
  ) {
    guard let target = target(source) else { return }
    lowering.program.append(
      .affineActivationGradient(
        AffineActivationGradient(
          outputGradient: gradient, input: input, affine: affine, activation: activation,
          inputGradient: target.value, accumulate: target.accumulate)))
  }

  private mutating func batchNorm(_ index: Int, _ gradient: Value, _ activation: Activation) throws {
    let source = graph.nodes[index].inputs[0]
    guard let map = lowering.forms[index].prologue?.affine else { return }
    let input = lowering.forms[index].value
    guard let statistics = lowering.statistics[index] else {
      affine(index, source, gradient, map, activation, input: input)
      return
    }
    let (gammaGradient, betaGradient) = (
      try parameterGradient(index, "weight"), try parameterGradient(index, "bias")
    )
    lowering.program.append(
      .batchNormParameterGradient(
        BatchNormParameterGradient(
          outputGradient: gradient, input: input, affine: map, activation: activation, mean: statistics.mean,
          inverseDeviation: statistics.inverseDeviation, gammaGradient: gammaGradient,
          betaGradient: betaGradient)))
    guard let target = target(source) else { return }
    lowering.program.append(
      .batchNormInputGradient(
        BatchNormInputGradient(
          outputGradient: gradient, input: input, affine: map, activation: activation, mean: statistics.mean,
          inverseDeviation: statistics.inverseDeviation, gammaGradient: gammaGradient,
          betaGradient: betaGradient, inputGradient: target.value, accumulate: target.accumulate)))
  }

  private mutating func convolution(
    _ index: Int, _ source: Int, _ gradient: Value, _ geometry: ConvolutionGeometry, bias: Bool
  ) throws {
    if !parameterGradients.isEmpty {
      lowering.program.append(
        .convolutionFilterGradient(
          ConvolutionFilterGradient(
            input: lowering.forms[source].value, outputGradient: gradient,
            filterGradient: try parameterGradient(index, "weight"), geometry: geometry,
            prologue: lowering.forms[source].prologue)))
      if bias {
        lowering.program.append(
          .channelSum(ChannelSum(input: gradient, output: try parameterGradient(index, "bias"))))
      }
    }
    guard let target = target(source) else { return }
    lowering.program.append(
      .convolutionInputGradient(
        ConvolutionInputGradient(
          outputGradient: gradient, filter: try lowering.parameter(index, "weight"),
          inputGradient: target.value,
          geometry: geometry, accumulate: target.accumulate)))
  }

  private mutating func linear(_ index: Int, _ source: Int, _ gradient: Value) throws {
    if !parameterGradients.isEmpty {
      lowering.program.append(
        .matrixProduct(
          MatrixProduct(
            a: gradient, b: lowering.value(source), output: try parameterGradient(index, "weight"),
            transposeA: true)))
      lowering.program.append(
        .channelSum(ChannelSum(input: gradient, output: try parameterGradient(index, "bias"))))
    }
    guard let target = target(source) else { return }
    lowering.program.append(
      .matrixProduct(
        MatrixProduct(
          a: gradient, b: try lowering.parameter(index, "weight"), output: target.value,
          accumulate: target.accumulate)))
  }

  private mutating func parameterGradient(_ index: Int, _ suffix: String) throws -> Value {
    let name = "\(graph.nodes[index].name).\(suffix)"
    if parameterGradients.isEmpty {
      // Only batch norm asks here, whose input gradient is made from its parameters'.
      return lowering.program.temporary(.vector(graph.nodes[index].shape.c), role: .plain)
    }
    guard let tensor = parameterGradients[name] else {
      throw PBEError(.internal, "there is no gradient for \(name)")
    }
    return lowering.program.bind(tensor)
  }
}
