extension LaunchBuilder {
  /// How the pixels of an image are cut into chunks that are summed one by one: enough for parallel work, and at most as
  /// many as are quickly merged.
  private func chunks(_ pixels: Int, atMost most: Int = 256, pixelsEach least: Int = 64) -> (
    size: Int, count: Int
  ) {
    let wanted = min(most, max(1, pixels / least))
    let size = max(1, divideUp(pixels, wanted))
    return (size, divideUp(pixels, size))
  }

  /// The chunks of batch norm's sums, which ``merge(_:_:channels:)`` merges.
  private func batchNormChunks(_ pixels: Int) -> (size: Int, count: Int) {
    tuning.isCPU ? chunks(pixels) : chunks(pixels, atMost: 2048, pixelsEach: 32)
  }

  /// Appends a launch that merges the chunks of every channel: a work-group is four channels by so many lanes.
  private mutating func merge(_ kernel: String, _ arguments: [LaunchPlan.Argument], channels: Int) {
    let lanes = tuning.mergeLanes
    launch(
      kernel, arguments, global: [(channels + 3) / 4 * 4, lanes], local: [4, lanes], isFixed: lanes > 1)
  }

  /// Appends a launch over channels and chunks of pixels.
  private mutating func perChannel(
    _ kernel: String, _ arguments: [LaunchPlan.Argument], channels: Int, chunks: Int, variant: String? = nil
  ) {
    let width = tuning.generalWidth
    let columns = divideUp(channels, width)
    let across = tuning.isCPU ? 1 : powerOfTwo(columns, limit: 64)
    launch(
      kernel, arguments, global: [columns, chunks], local: [across, tuning.isCPU ? 1 : max(1, 64 / across)],
      variant: variant)
  }

  mutating func channelSum(_ d: ChannelSum) throws {
    let x = shape(d.input)
    let chunk = chunks(x.pixels)
    let partial = try need(.partial, floats: chunk.count * x.c)
    perChannel(
      "channel_sum", [.value(d.input), partial] + (try ints(x.c, x.pixels, chunk.size)), channels: x.c,
      chunks: chunk.count)
    rowwise(
      "sum_parts", [partial, .none, .none, .value(d.output)] + (try ints(x.c, chunk.count, 1)),
      rows: x.c)
  }

  mutating func batchNormStatistics(_ d: BatchNormStatistics) throws {
    let x = shape(d.input)
    let chunk = batchNormChunks(x.pixels)
    let partial = try need(.partial, floats: 2 * chunk.count * x.c)
    let sizes = try ints(x.c, x.pixels, chunk.size)
    perChannel(
      "batch_norm_parts", [.value(d.input), partial] + sizes, channels: x.c, chunks: chunk.count)
    merge(
      "batch_norm_merge",
      [
        partial, .value(d.gamma), .value(d.beta), .value(d.runningMean), .value(d.runningVariance),
        .value(d.mean),
        .value(d.inverseDeviation), .value(d.affine.scale), .value(d.affine.shift),
      ] + sizes + [.float(d.momentum), .float(d.epsilon)],
      channels: x.c)
  }

  mutating func batchNormFold(_ d: BatchNormFold) throws {
    let count = shape(d.gamma).count
    rowwise(
      "batch_norm_fold",
      [
        .value(d.gamma), .value(d.beta), .value(d.runningMean), .value(d.runningVariance),
        .value(d.affine.scale),
        .value(d.affine.shift), optional(d.inverseDeviation), try int(count), .float(d.epsilon),
      ],
      rows: count)
  }

  // MARK: - Activations

  /// The build options of the kernels that know their activation at compile time.
  private func variant(_ map: ChannelAffine?, _ activation: Activation) -> String {
    "-DPER_CHANNEL -DVW=\(tuning.generalWidth) -DPROLOGUE=\(map == nil ? 1 : 2) -DACTIVATION=\(activation.code)"
  }

  /// Appends `output = activation(scale * input + shift)`.
  mutating func activate(
    _ input: LaunchPlan.Argument, _ map: ChannelAffine?, _ activation: Activation,
    to output: LaunchPlan.Argument,
    shape x: Shape
  ) throws {
    grid(
      "affine_activation",
      [input] + affine(map) + [.float(activation.parameter), output] + (try ints(x.c, x.pixels)),
      columns: x.c, rows: x.pixels, variant: variant(map, activation))
  }

  mutating func affineActivation(_ d: AffineActivation) throws {
    try activate(.value(d.input), d.affine, d.activation, to: .value(d.output), shape: shape(d.input))
  }

  mutating func affineActivationGradient(_ d: AffineActivationGradient) throws {
    let x = shape(d.input)
    grid(
      "affine_activation_gradient",
      [.value(d.outputGradient), .value(d.input)] + affine(d.affine)
        + [.float(d.activation.parameter), .value(d.inputGradient)] + (try ints(x.c, x.pixels))
        + [flag(d.accumulate)],
      columns: x.c, rows: x.pixels, variant: variant(d.affine, d.activation))
  }

  // MARK: - Gradients of batch norm

  mutating func batchNormParameterGradient(_ d: BatchNormParameterGradient) throws {
    let x = shape(d.input)
    let chunk = batchNormChunks(x.pixels)
    let partial = try need(.partial, floats: 2 * chunk.count * x.c)
    perChannel(
      "batch_norm_parameter_parts",
      [.value(d.outputGradient), .value(d.input)] + affine(d.affine)
        + [.float(d.activation.parameter), .value(d.mean), .value(d.inverseDeviation), partial]
        + (try ints(x.c, x.pixels, chunk.size)),
      channels: x.c, chunks: chunk.count, variant: variant(d.affine, d.activation))
    merge(
      "batch_norm_parameter_merge",
      [partial, .value(d.gammaGradient), .value(d.betaGradient)] + (try ints(x.c, chunk.count)),
      channels: x.c)
  }

  mutating func batchNormInputGradient(_ d: BatchNormInputGradient) throws {
    let x = shape(d.input)
    grid(
      "batch_norm_input_gradient",
      [.value(d.outputGradient), .value(d.input)] + affine(d.affine)
        + [
          .float(d.activation.parameter), .value(d.mean), .value(d.inverseDeviation), .value(d.gammaGradient),
          .value(d.betaGradient), .value(d.inputGradient),
        ] + (try ints(x.c, x.pixels)) + [flag(d.accumulate)],
      columns: x.c, rows: x.pixels, variant: variant(d.affine, d.activation))
  }
}
