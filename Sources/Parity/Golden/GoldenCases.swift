import Kernels

/// Golden cases as operator cases: the same inputs, held against PyTorch's results.
public enum GoldenCases {
  /// The operator cases of a golden set; networks and other cases that are no operators' are left out.
  ///
  /// What a case is follows from its attribute `operator`, or from its name where it has none. Throws `badData` when
  /// a case lacks a tensor.
  public static func cases(of set: GoldenSet, prefix: String) throws -> [OperatorCase] {
    try set.cases.compactMap { golden in
      let name = "\(prefix)/\(set.name).\(golden.name)"
      switch golden.string("operator") ?? (set.name == "conv2d" ? "convolution" : golden.name) {
      case "convolution": return try convolution(name, golden)
      case "linear": return try linear(name, golden)
      case "batchnorm_train": return try batchNorm(name, golden, training: true)
      case "batchnorm_eval": return try batchNorm(name, golden, training: false)
      case "cross_entropy": return try crossEntropy(name, golden)
      case "sgd", "sgd_nesterov": return try sgd(name, golden)
      case "adam": return try adam(name, golden)
      case "wanet": return try wanet(name, golden)
      case "logit_agreement": return try agreement(name, golden)
      case "upsample2_bilinear_centers", "upsample2_bilinear_corners", "resize":
        return try resize(name, golden)
      case "grid_sample": return try gridSample(name, golden)
      case "maxpool2", "maxpool3", "max_pool": return try pool(name, golden, .maximum)
      case "avgpool4", "global_average", "average_pool": return try pool(name, golden, .average)
      case let other:
        guard let activation = activation(other, golden) else { return nil }
        return try elementwise(name, golden, activation)
      }
    }
  }

  private static func activation(_ name: String, _ golden: GoldenCase) -> Activation? {
    switch name {
    case "relu": .relu
    case "leaky_relu": .leakyReLU(slope: Float(golden.number("slope") ?? 0.01))
    case "elu": .elu(alpha: Float(golden.number("alpha") ?? 1))
    case "tanh": .tanh
    case "sigmoid": .sigmoid
    case "silu": .silu
    case "hardswish": .hardSwish
    default: nil
    }
  }

  private static func convolution(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, weight) = (try golden.tensor("x"), try golden.tensor("weight"))
    let (y, dy) = (try golden.tensor("y"), try golden.tensor("dy"))
    let (dx, dweight) = (try golden.tensor("dx"), try golden.tensor("dweight"))
    let (bias, dbias) = (golden.tensors["bias"], golden.tensors["dbias"])
    let geometry = ConvolutionGeometry(
      kernelHeight: weight.deviceShape.h, kernelWidth: weight.deviceShape.w,
      stride: golden.integer("stride") ?? 1,
      padding: golden.integer("padding") ?? 0, dilation: golden.integer("dilation") ?? 1,
      groups: golden.integer("groups") ?? 1)
    return OperatorCase(name) { b in
      let (input, filter) = (b.image(x, "x"), b.golden(weight, "weight", role: .filter))
      let (output, gradient) = (b.output(y, "y"), b.image(dy, "dy"))
      let (inputGradient, filterGradient) = (b.output(dx, "dx"), b.output(dweight, "dweight", role: .filter))
      let vector = bias.map { b.golden($0, "bias") }
      let vectorGradient = dbias.map { b.output($0, "dbias", role: .plain) }
      b.run { p in
        let (input, filter, gradient) = (p.bind(input), p.bind(filter), p.bind(gradient))
        p.append(
          .convolution(
            Convolution(
              input: input, filter: filter, bias: vector.map { p.bind($0) }, output: p.bind(output),
              geometry: geometry)))
        p.append(
          .convolutionInputGradient(
            ConvolutionInputGradient(
              outputGradient: gradient, filter: filter, inputGradient: p.bind(inputGradient),
              geometry: geometry)))
        p.append(
          .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: input, outputGradient: gradient, filterGradient: p.bind(filterGradient),
              geometry: geometry)))
        if let vectorGradient {
          p.append(.channelSum(ChannelSum(input: gradient, output: p.bind(vectorGradient))))
        }
      }
    }
  }

  private static func linear(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, weight, bias) = (try golden.tensor("x"), try golden.tensor("weight"), try golden.tensor("bias"))
    let (y, dy, dx) = (try golden.tensor("y"), try golden.tensor("dy"), try golden.tensor("dx"))
    let (dweight, dbias) = (try golden.tensor("dweight"), try golden.tensor("dbias"))
    return OperatorCase(name) { b in
      let (x, weight, bias) = (b.image(x, "x"), b.golden(weight, "weight"), b.golden(bias, "bias"))
      let (y, dy, dx) = (b.output(y, "y"), b.image(dy, "dy"), b.output(dx, "dx"))
      let (dweight, dbias) = (
        b.output(dweight, "dweight", role: .plain), b.output(dbias, "dbias", role: .plain)
      )
      b.run { p in
        let (x, weight, dy) = (p.bind(x), p.bind(weight), p.bind(dy))
        p.append(
          .matrixProduct(
            MatrixProduct(a: x, b: weight, output: p.bind(y), transposeB: true, bias: p.bind(bias))))
        p.append(.matrixProduct(MatrixProduct(a: dy, b: weight, output: p.bind(dx))))
        p.append(.matrixProduct(MatrixProduct(a: dy, b: x, output: p.bind(dweight), transposeA: true)))
        p.append(.channelSum(ChannelSum(input: dy, output: p.bind(dbias))))
      }
    }
  }

  private static func batchNorm(_ name: String, _ golden: GoldenCase, training: Bool) throws -> OperatorCase {
    let (x, y, dy) = (try golden.tensor("x"), try golden.tensor("y"), try golden.tensor("dy"))
    let (gamma, beta, dx) = (try golden.tensor("gamma"), try golden.tensor("beta"), try golden.tensor("dx"))
    let (mean, variance) = (try golden.tensor("running_mean"), try golden.tensor("running_var"))
    let meanAfter = try golden.tensor("running_mean_after")
    let varianceAfter = try golden.tensor("running_var_after")
    let (dgamma, dbeta) = (try golden.tensor("dgamma"), try golden.tensor("dbeta"))
    let epsilon = Float(golden.number("eps") ?? 1e-5)
    let momentum = Float(golden.number("momentum") ?? 0.1)
    return OperatorCase(name) { b in
      let channels = gamma.values.count
      let (x, y, dy, dx) = (b.image(x, "x"), b.output(y, "y"), b.image(dy, "dy"), b.output(dx, "dx"))
      let (gamma, beta) = (b.golden(gamma, "gamma"), b.golden(beta, "beta"))
      let (runningMean, runningVariance) = (
        b.golden(mean, "running mean"), b.golden(variance, "running variance")
      )
      if training {
        b.expect(runningMean, meanAfter.values)
        b.expect(runningVariance, varianceAfter.values)
      }
      let (dgamma, dbeta) = (b.output(dgamma, "dgamma", role: .plain), b.output(dbeta, "dbeta", role: .plain))
      let affine = (scale: b.outputVector(channels, "scale"), shift: b.outputVector(channels, "shift"))
      let (mean, deviation) = (
        b.outputVector(channels, "mean"), b.outputVector(channels, "inverse deviation")
      )
      b.run { p in
        let map = p.bind(affine)
        let (x, dy) = (p.bind(x), p.bind(dy))
        if training {
          p.append(
            .batchNormStatistics(
              BatchNormStatistics(
                input: x, gamma: p.bind(gamma), beta: p.bind(beta), runningMean: p.bind(runningMean),
                runningVariance: p.bind(runningVariance), mean: p.bind(mean),
                inverseDeviation: p.bind(deviation),
                affine: map, momentum: momentum, epsilon: epsilon)))
        } else {
          p.append(
            .batchNormFold(
              BatchNormFold(
                gamma: p.bind(gamma), beta: p.bind(beta), runningMean: p.bind(runningMean),
                runningVariance: p.bind(runningVariance), affine: map, inverseDeviation: p.bind(deviation),
                epsilon: epsilon)))
        }
        p.append(
          .affineActivation(AffineActivation(input: x, affine: map, activation: .identity, output: p.bind(y)))
        )
        let center = training ? p.bind(mean) : p.bind(runningMean)
        p.append(
          .batchNormParameterGradient(
            BatchNormParameterGradient(
              outputGradient: dy, input: x, affine: map, activation: .identity, mean: center,
              inverseDeviation: p.bind(deviation), gammaGradient: p.bind(dgamma), betaGradient: p.bind(dbeta))
          ))
        if training {
          p.append(
            .batchNormInputGradient(
              BatchNormInputGradient(
                outputGradient: dy, input: x, affine: map, activation: .identity, mean: center,
                inverseDeviation: p.bind(deviation), gammaGradient: p.bind(dgamma),
                betaGradient: p.bind(dbeta),
                inputGradient: p.bind(dx))))
        } else {
          p.append(
            .affineActivationGradient(
              AffineActivationGradient(
                outputGradient: dy, input: x, affine: map, activation: .identity, inputGradient: p.bind(dx))))
        }
      }
    }
  }

  private static func elementwise(
    _ name: String, _ golden: GoldenCase, _ activation: Activation
  ) throws -> OperatorCase {
    let (x, y) = (try golden.tensor("x"), try golden.tensor("y"))
    let (dy, dx) = (try golden.tensor("dy"), try golden.tensor("dx"))
    return OperatorCase(name) { b in
      let (x, y, dy, dx) = (b.image(x, "x"), b.output(y, "y"), b.image(dy, "dy"), b.output(dx, "dx"))
      b.run { p in
        p.append(
          .affineActivation(AffineActivation(input: p.bind(x), activation: activation, output: p.bind(y))))
        p.append(
          .affineActivationGradient(
            AffineActivationGradient(
              outputGradient: p.bind(dy), input: p.bind(x), activation: activation, inputGradient: p.bind(dx))
          ))
      }
    }
  }
}

extension CaseBuilder {
  /// A golden tensor as an input.
  mutating func golden(_ tensor: GoldenTensor, _ label: String, role: TensorRole = .plain) -> Tensor {
    self.tensor(
      label, tensor.values, tensor.deviceShape, type: tensor.isInteger ? .int32 : .float32, role: role)
  }

  /// A golden image as an input.
  mutating func image(_ tensor: GoldenTensor, _ label: String) -> Tensor {
    golden(tensor, label, role: .image)
  }

  /// An output that has to come to a golden tensor.
  mutating func output(_ tensor: GoldenTensor, _ label: String, role: TensorRole = .image) -> Tensor {
    let result = output(tensor.deviceShape, label, role: role)
    expect(result, tensor.values)
    return result
  }

  /// A golden field of points, which files hold channels-last, as an input.
  mutating func field(_ tensor: GoldenTensor) -> Tensor {
    let (values, shape) = Self.channelsFirst(tensor)
    return self.tensor("field", values, shape, role: .image)
  }

  /// NHWC as NCHW.
  static func channelsFirst(_ tensor: GoldenTensor) -> (values: [Double], shape: Shape) {
    let from = tensor.deviceShape
    let (pixels, channels) = (from.c * from.h, from.w)
    let values = (0..<from.count).map { at in
      let (sample, rest) = at.quotientAndRemainder(dividingBy: pixels * channels)
      return tensor.values[sample * pixels * channels + rest % pixels * channels + rest / pixels]
    }
    return (values, Shape(from.n, channels, from.c, from.h))
  }
}
