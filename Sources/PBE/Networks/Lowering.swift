import Kernels

/// Writes a network's forward and backward pass into a ``Program``: the step from what is computed to the list of
/// operators that a backend compiles.
///
/// Batch norm, activation and input normalisation are not computed where they stand but deferred: a convolution that
/// follows takes them as its prologue; anything else has them computed first. Gradients flow in reverse order, and
/// the two branches of a sum share one gradient until one of them adds to it.
struct Lowering {
  /// Batch norm from running statistics, no dropout; or from the batch, with dropout.
  enum Mode { case evaluation, training }

  let graph: Graph
  let weights: Weights
  let mode: Mode
  let batch: Int
  var program: Program
  /// int32 per sample: its index in the data set (dropout's random numbers need it).
  let samples: Value?
  /// The key of dropout's random numbers.
  let seed: UInt64
  /// Whether training-mode batch norm moves the running statistics.
  let updatesStatistics: Bool

  /// What stands for a node's output: a value, and what is still to be applied to it.
  struct Form {
    var value: Value
    var prologue: Prologue?
  }

  /// Training-mode batch norm's values that its backward pass needs.
  struct Statistics {
    var mean: Value
    var inverseDeviation: Value
  }

  private(set) var forms: [Form] = []
  private(set) var statistics: [Int: Statistics] = [:]
  private var computed: [Int: Value] = [:]

  init(
    _ weights: Weights, mode: Mode, batch: Int, program: Program, samples: Value? = nil, seed: UInt64 = 0,
    updatesStatistics: Bool = true
  ) {
    graph = weights.graph
    self.weights = weights
    self.mode = mode
    self.batch = batch
    self.program = program
    self.samples = samples
    self.seed = seed
    self.updatesStatistics = updatesStatistics
  }

  /// A node's output shape for the whole batch.
  func shape(_ node: Int) -> Shape {
    var shape = graph.nodes[node].shape
    shape.n = batch
    return shape
  }

  mutating func parameter(_ node: Int, _ suffix: String) throws -> Value {
    program.bind(try weights.tensor("\(graph.nodes[node].name).\(suffix)"))
  }

  /// A node's output as a value, computing what was deferred; once per node.
  mutating func value(_ node: Int) -> Value {
    let form = forms[node]
    guard let prologue = form.prologue else { return form.value }
    if let value = computed[node] { return value }
    let value = program.temporary(shape(node))
    program.append(
      .affineActivation(
        AffineActivation(
          input: form.value, affine: prologue.affine, activation: prologue.activation, output: value)))
    computed[node] = value
    return value
  }

  /// Writes the forward pass and returns the network's output.
  mutating func forward(_ images: Value) throws -> Value {
    for index in graph.nodes.indices {
      forms.append(try index == 0 ? Form(value: images) : forward(index))
    }
    return value(graph.nodes.count - 1)
  }

  /// The output of ``Graph/penultimate``, once ``forward(_:)`` is written: image (n, c, h, w), where a linear layer
  /// flattens it.
  mutating func features() -> Value { value(graph.penultimate) }

  private mutating func forward(_ index: Int) throws -> Form {
    let node = graph.nodes[index]
    let source = node.inputs[0]
    switch node.layer {
    case .input: return forms[source]
    case .normalise(let mean, let deviation):
      let scale = deviation.map { 1 / $0 }
      let shift = zip(mean, scale).map { -$0 * $1 }
      let affine = ChannelAffine(
        scale: program.bind(try weights.backend.makeTensor(scale, shape: .vector(scale.count))),
        shift: program.bind(try weights.backend.makeTensor(shift, shape: .vector(shift.count))))
      return Form(value: value(source), prologue: Prologue(affine: affine))
    case .convolution(_, let geometry, let bias):
      let residual = graph.residual(ofConvolution: index).map { value($0) }
      let output = program.temporary(shape(index))
      program.append(
        .convolution(
          Convolution(
            input: forms[source].value, filter: try parameter(index, "weight"),
            bias: bias ? try parameter(index, "bias") : nil, output: output, geometry: geometry,
            prologue: forms[source].prologue, residual: residual)))
      return Form(value: output)
    case .batchNorm(let momentum): return try batchNorm(index, source, momentum)
    case .activation(let activation):
      if let prologue = forms[source].prologue, prologue.activation == .identity {
        return Form(
          value: forms[source].value, prologue: Prologue(affine: prologue.affine, activation: activation))
      }
      return Form(value: value(source), prologue: Prologue(activation: activation))
    case .pool(let geometry):
      let output = program.temporary(shape(index))
      program.append(.pool(Pool(input: value(source), output: output, geometry: geometry)))
      return Form(value: output)
    case .upsample:
      let output = program.temporary(shape(index))
      program.append(
        .resize(
          Resize(input: value(source), output: output, interpolation: .bilinear, alignCorners: false)))
      return Form(value: output)
    case .linear: return try linear(index, source)
    case .add:
      // The later of the two may have added the other already.
      if let last = node.inputs.max(), graph.residual(ofConvolution: last) != nil { return forms[last] }
      let output = program.temporary(shape(index))
      program.append(.add(Add(a: value(node.inputs[0]), b: value(node.inputs[1]), output: output)))
      return Form(value: output)
    case .dropout(let rate):
      guard mode == .training, let samples else { return forms[source] }
      let output = program.temporary(shape(index))
      program.append(.dropout(dropout(index, rate, from: value(source), samples, to: output)))
      return Form(value: output)
    }
  }

  func dropout(_ index: Int, _ rate: Float, from input: Value, _ samples: Value, to output: Value) -> Dropout
  {
    Dropout(
      input: input, samples: samples, output: output, rate: rate, seed: seed,
      purpose: RandomPurpose.dropout + UInt32(index))
  }

  private mutating func vector(_ count: Int) -> Value { program.temporary(.vector(count), role: .plain) }

  private mutating func batchNorm(_ index: Int, _ source: Int, _ momentum: Float) throws -> Form {
    let channels = graph.nodes[index].shape.c
    let input = value(source)
    let affine = ChannelAffine(scale: vector(channels), shift: vector(channels))
    let (gamma, beta) = (try parameter(index, "weight"), try parameter(index, "bias"))
    let (mean, variance) = (try parameter(index, "running_mean"), try parameter(index, "running_var"))
    switch mode {
    case .evaluation:
      program.append(
        .batchNormFold(
          BatchNormFold(
            gamma: gamma, beta: beta, runningMean: mean, runningVariance: variance, affine: affine)))
    case .training:
      let saved = Statistics(mean: vector(channels), inverseDeviation: vector(channels))
      statistics[index] = saved
      program.append(
        .batchNormStatistics(
          BatchNormStatistics(
            input: input, gamma: gamma, beta: beta, runningMean: mean, runningVariance: variance,
            mean: saved.mean, inverseDeviation: saved.inverseDeviation, affine: affine,
            momentum: updatesStatistics ? momentum : 0)))
    }
    return Form(value: input, prologue: Prologue(affine: affine))
  }

  /// The kernel of a linear layer over an image, which is a convolution by the whole image.
  static func imageGeometry(_ input: Shape) -> ConvolutionGeometry? {
    input.h * input.w > 1 ? ConvolutionGeometry(kernelHeight: input.h, kernelWidth: input.w) : nil
  }

  private mutating func linear(_ index: Int, _ source: Int) throws -> Form {
    let output = program.temporary(shape(index))
    let (weight, bias) = (try parameter(index, "weight"), try parameter(index, "bias"))
    if let geometry = Self.imageGeometry(graph.nodes[source].shape) {
      program.append(
        .convolution(
          Convolution(
            input: forms[source].value, filter: weight, bias: bias, output: output, geometry: geometry,
            prologue: forms[source].prologue)))
    } else {
      program.append(
        .matrixProduct(
          MatrixProduct(a: value(source), b: weight, output: output, transposeB: true, bias: bias)))
    }
    return Form(value: output)
  }
}
