import Kernels

/// The tensors of a batch norm.
struct BatchNormTensors {
  let gamma: Tensor
  let beta: Tensor
  let runningMean: Tensor
  let runningVariance: Tensor
  let mean: Tensor
  let inverseDeviation: Tensor
  let affine: (scale: Tensor, shift: Tensor)
  let gammaGradient: Tensor
  let betaGradient: Tensor

  init(_ channels: Int, _ b: inout CaseBuilder) {
    gamma = b.positiveVector(channels, "gamma")
    beta = b.vector(channels, "beta", scale: 0.5)
    runningMean = b.vector(channels, "running mean")
    runningVariance = b.positiveVector(channels, "running variance")
    mean = b.outputVector(channels, "mean")
    inverseDeviation = b.outputVector(channels, "inverse deviation")
    affine = (b.outputVector(channels, "scale"), b.outputVector(channels, "shift"))
    gammaGradient = b.outputVector(channels, "dgamma")
    betaGradient = b.outputVector(channels, "dbeta")
  }

  /// Training-mode statistics of an input.
  func statistics(_ input: Value, _ p: inout Program, momentum: Float = 0.1, epsilon: Float = 1e-5) {
    p.append(
      .batchNormStatistics(
        BatchNormStatistics(
          input: input, gamma: p.bind(gamma), beta: p.bind(beta), runningMean: p.bind(runningMean),
          runningVariance: p.bind(runningVariance), mean: p.bind(mean),
          inverseDeviation: p.bind(inverseDeviation),
          affine: p.bind(affine), momentum: momentum, epsilon: epsilon)))
  }

  /// Both gradients, through an activation.
  func gradients(
    _ outputGradient: Value, input: Value, _ activation: Activation, to inputGradient: Value,
    accumulate: Bool = false, _ p: inout Program
  ) {
    p.append(
      .batchNormParameterGradient(
        BatchNormParameterGradient(
          outputGradient: outputGradient, input: input, affine: p.bind(affine), activation: activation,
          mean: p.bind(mean), inverseDeviation: p.bind(inverseDeviation),
          gammaGradient: p.bind(gammaGradient),
          betaGradient: p.bind(betaGradient))))
    p.append(
      .batchNormInputGradient(
        BatchNormInputGradient(
          outputGradient: outputGradient, input: input, affine: p.bind(affine), activation: activation,
          mean: p.bind(mean), inverseDeviation: p.bind(inverseDeviation),
          gammaGradient: p.bind(gammaGradient),
          betaGradient: p.bind(betaGradient), inputGradient: inputGradient, accumulate: accumulate)))
  }
}

extension ParityTable {
  private static let shapes = [
    Shape(4, 5, 6, 7), Shape(2, 8, 32, 32), Shape(3, 16, 4, 4), Shape(2, 1, 3, 3), Shape(16, 33),
    Shape(1, 64, 7, 7), Shape(5, 130, 2, 2),
    // More chunks of pixels than a GPU's work-group has work-items to merge them.
    Shape(3, 6, 40, 41),
  ]

  /// Batch norm: statistics, folding, both gradients.
  static let normalisation: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for shape in shapes {
      cases.append(statistics(shape))
      cases.append(batchNormGradient(shape, .relu))
    }
    for activation in Activation.everyCase { cases.append(batchNormGradient(Shape(3, 6, 5, 4), activation)) }
    cases.append(batchNormGradient(Shape(3, 16, 5, 4), .relu, accumulate: true))
    cases.append(batchNormGradient(Shape(3, 16, 5, 4), .silu, inPlace: true))
    // Single precision must not lose the variance in the square of the mean.
    cases.append(statistics(Shape(4, 6, 8, 8), offset: 30))
    cases.append(statistics(Shape(4, 6, 8, 8), momentum: 0.25, epsilon: 1e-3))
    // One pixel has no deviation, nor is anything divided by none.
    cases.append(statistics(Shape(1, 5)))
    for channels in [1, 5, 64, 513] {
      for deviation in [false, true] { cases.append(fold(channels, deviation)) }
    }
    return cases
  }()

  static func statistics(
    _ shape: Shape, offset: Double = 0.5, momentum: Float = 0.1, epsilon: Float = 1e-5
  ) -> OperatorCase {
    let extras = momentum == 0.1 ? "" : ", momentum \(momentum) epsilon \(epsilon)"
    return OperatorCase("batchNormStatistics/\(shape), mean \(offset)\(extras)") { b in
      let x = b.image(shape, offset: offset)
      let norm = BatchNormTensors(shape.c, &b)
      b.run { p in norm.statistics(p.bind(x), &p, momentum: momentum, epsilon: epsilon) }
      // A second batch: the running statistics go on.
      b.again(RunParameters())
    }
  }

  static func batchNormGradient(
    _ shape: Shape, _ activation: Activation, accumulate: Bool = false, inPlace: Bool = false
  ) -> OperatorCase {
    let extras = (accumulate ? ", accumulate" : "") + (inPlace ? ", in place" : "")
    return OperatorCase("batchNormGradient/\(shape), \(activation)\(extras)") { b in
      let x = b.image(shape, scale: 2, offset: 1)
      let dy = b.image(shape, "dy")
      let dx = inPlace ? dy : accumulate ? b.image(shape, "dx") : b.output(shape, "dx")
      let norm = BatchNormTensors(shape.c, &b)
      b.run { p in
        norm.statistics(p.bind(x), &p)
        norm.gradients(p.bind(dy), input: p.bind(x), activation, to: p.bind(dx), accumulate: accumulate, &p)
      }
    }
  }

  private static func fold(_ channels: Int, _ deviation: Bool) -> OperatorCase {
    OperatorCase(
      "batchNormFold/\(channels)\(deviation ? ", with inverse deviation" : "")",
      bound: OperatorCase.elementwiseBound
    ) { b in
      let (gamma, beta) = (b.positiveVector(channels, "gamma"), b.vector(channels, "beta"))
      let (mean, variance) = (
        b.vector(channels, "running mean"), b.positiveVector(channels, "running variance")
      )
      let affine = (scale: b.outputVector(channels, "scale"), shift: b.outputVector(channels, "shift"))
      let inverse = deviation ? b.outputVector(channels, "inverse deviation") : nil
      b.run { p in
        p.append(
          .batchNormFold(
            BatchNormFold(
              gamma: p.bind(gamma), beta: p.bind(beta), runningMean: p.bind(mean),
              runningVariance: p.bind(variance),
              affine: p.bind(affine), inverseDeviation: inverse.map { p.bind($0) })))
      }
    }
  }
}
