extension LaunchBuilder {
  // MARK: - Loss and scores

  mutating func softmaxCrossEntropy(_ d: SoftmaxCrossEntropy) throws {
    try losses(
      "softmax_cross_entropy", d.logits, [.value(d.labels), optional(d.logitsGradient)],
      [.float(d.gradientScale), .float(d.smoothing)], totals: d.totals)
  }

  mutating func distillation(_ d: Distillation) throws {
    try losses(
      "distillation", d.logits, [.value(d.teacher), .value(d.labels), .value(d.logitsGradient)],
      [.float(d.gradientScale), .float(d.temperature), .float(d.labelShare)], totals: d.totals)
  }

  /// A kernel for the loss of each row, and one that adds them up.
  private mutating func losses(
    _ kernel: String, _ logits: Value, _ buffers: [LaunchPlan.Argument], _ numbers: [LaunchPlan.Argument],
    totals: Value
  ) throws {
    let x = shape(logits)
    let perRow = try need(.partial, floats: 2 * x.n)
    rowwise(kernel, [.value(logits)] + buffers + [perRow] + (try ints(x.n, x.c)) + numbers, rows: x.n)
    launch("add_totals", [perRow, .value(totals), try int(x.n)], global: [2], local: [2])
  }

  mutating func argMax(_ d: ArgMax) throws {
    let x = shape(d.input)
    rowwise("arg_max", [.value(d.input), .value(d.output)] + (try ints(x.n, x.c)), rows: x.n)
  }

  mutating func agreement(_ d: Agreement) throws {
    let x = shape(d.a)
    rowwise("agreement", [.value(d.a), .value(d.b), .value(d.output)] + (try ints(x.n, x.c)), rows: x.n)
  }

  /// In stages of at most 64 terms for small tensors; the number of terms depends on the shape alone.
  mutating func sum(_ d: Sum) throws {
    var count = shape(d.input).count
    var input = LaunchPlan.Argument.value(d.input)
    var stages = [LaunchPlan.Scratch.partial, .secondPartial]
    while count > 64, let stage = stages.popLast() {
      let outputs = min(stages.isEmpty ? 64 : 8192, (count + 63) / 64)
      let partial = try need(stage, floats: outputs)
      rowwise("sum_strided", [input, partial] + (try ints(count, outputs)), rows: outputs)
      (input, count) = (partial, outputs)
    }
    rowwise("sum_strided", [input, .value(d.output)] + (try ints(count, 1)), rows: 1)
  }

  // MARK: - Optimizers and attacks

  mutating func sgd(_ d: SGD) throws {
    let count = shape(d.parameters).count
    elementwise(
      "sgd",
      [
        .value(d.parameters), .value(d.gradients), .value(d.velocity), try int(count), .float(d.momentum),
        .float(d.weightDecay), flag(d.nesterov), .run(.learningRate),
      ],
      count: count)
  }

  mutating func adam(_ d: Adam) throws {
    let count = shape(d.parameters).count
    elementwise(
      "adam",
      [
        .value(d.parameters), .value(d.gradients), .value(d.firstMoment), .value(d.secondMoment),
        try int(count),
        .float(d.beta1), .float(d.beta2), .float(d.epsilon), .float(d.weightDecay),
        .run(.adamRate(beta1: d.beta1)),
        .run(.adamCorrection(beta2: d.beta2)),
      ],
      count: count)
  }

  mutating func perturbWeights(_ d: PerturbWeights) throws {
    let count = shape(d.parameters).count
    let squares = try gradientSquares(d.gradients, scaledBy: d.adaptive ? d.parameters : nil)
    elementwise(
      "perturb_weights",
      [
        .value(d.parameters), .value(d.gradients), .value(d.saved), squares, try int(count),
        .float(d.radius), flag(d.adaptive),
      ],
      count: count)
  }

  mutating func clipGradients(_ d: ClipGradients) throws {
    let count = shape(d.gradients).count
    let squares = try gradientSquares(d.gradients)
    elementwise(
      "clip_gradients", [.value(d.gradients), squares, try int(count), .float(d.length)], count: count)
  }

  /// The sum of the squares of gradients, each multiplied by its parameter if wanted, in stages, as by ``sum(_:)``.
  private mutating func gradientSquares(
    _ gradients: Value, scaledBy parameters: Value? = nil
  ) throws -> LaunchPlan.Argument {
    let count = shape(gradients).count
    let many = min(8192, (count + 63) / 64)
    let few = min(64, (many + 63) / 64)
    let first = try need(.secondPartial, floats: many)
    rowwise(
      "gradient_squares",
      [.value(parameters ?? gradients), .value(gradients), first] + (try ints(count, many))
        + [flag(parameters != nil)],
      rows: many)
    let second = try need(.partial, floats: few)
    rowwise("sum_strided", [first, second] + (try ints(many, few)), rows: few)
    rowwise("sum_strided", [second, first] + (try ints(few, 1)), rows: 1)
    return first
  }

  mutating func pgdStep(_ d: PGDStep) throws {
    let shape = shape(d.adversarial)
    let tensors: [LaunchPlan.Argument] = [.value(d.adversarial), .value(d.origin), .value(d.gradient)]
    let sizes: [LaunchPlan.Argument] = [.float(d.stepSize), .float(d.epsilon), flag(d.clip)]
    switch d.norm {
    case .infinity:
      elementwise("pgd_step", tensors + [try int(shape.count)] + sizes, count: shape.count)
    case .two:
      rowwise(
        "pgd_step_l2", tensors + (try ints(shape.n, shape.count / shape.n)) + sizes, rows: shape.n)
    }
  }
}
