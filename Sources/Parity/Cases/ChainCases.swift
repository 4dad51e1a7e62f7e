import Kernels

extension ParityTable {
  /// Programs of several operators, with temporaries that share memory.
  static let chains: [OperatorCase] =
    [residualBlock, evaluationBlock, sharedArena, pingPong, branches] + slopes

  /// An input gradient and the slope of the activation before it, which a backend may do in one pass.
  private static let slopes: [OperatorCase] = [
    ("fresh", false, false), ("added to", true, false), ("adding", false, true), ("both", true, true),
  ].flatMap { words, addsBefore, addsAfter in
    // Every function once, the usual ones with every way of adding.
    let others = addsBefore && addsAfter ? Activation.everyCase.filter { $0 != .relu }.map { ($0, true) } : []
    return ([(Activation.relu, true), (.leakyReLU(slope: 0.1), false)] + others).map {
      activation, hasAffine in
      OperatorCase("chain/input gradient and slope, \(words), \(activation)\(hasAffine ? " affine" : "")") {
        b in
        let (shape, wide) = (Shape(3, 16, 9, 6), Shape(3, 32, 9, 6))
        let same = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, padding: 1)
        let (x, dy, w) = (b.image(shape), b.image(wide, "dy"), b.filter(Shape(32, 16, 3, 3)))
        let (other, affine) = (b.image(shape, "other"), b.affine(16))
        let dx = addsAfter ? b.image(shape, "dx") : b.output(shape, "dx")
        b.run { p in
          let g = p.temporary(shape)
          if addsBefore { p.append(.copy(Copy(input: p.bind(other), output: g))) }
          p.append(
            .convolutionInputGradient(
              ConvolutionInputGradient(
                outputGradient: p.bind(dy), filter: p.bind(w), inputGradient: g, geometry: same,
                accumulate: addsBefore)))
          p.append(
            .affineActivationGradient(
              AffineActivationGradient(
                outputGradient: g, input: p.bind(x), affine: hasAffine ? p.bind(affine) : nil,
                activation: activation, inputGradient: p.bind(dx), accumulate: addsAfter)))
        }
      }
    }
  }

  /// A pre-activation block in training, forward and back, to a loss: the largest program of the table.
  private static let residualBlock = OperatorCase("chain/pre-activation block, training") { b in
    let (shape, classes) = (Shape(3, 8, 8, 8), 5)
    let same = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, padding: 1)
    let average = PoolGeometry(.average, kernelHeight: 8, kernelWidth: 8, stride: 1)
    let (x, w1, w2) = (b.image(shape), b.filter(Shape(8, 8, 3, 3), "w1"), b.filter(Shape(8, 8, 3, 3), "w2"))
    let (w3, labels) = (b.matrix(classes, 8, "w3"), b.integers([4, 0, 2], "labels"))
    let (norm1, norm2) = (BatchNormTensors(8, &b), BatchNormTensors(8, &b))
    let totals = b.tensor("totals", [0, 0], .vector(2))
    let (dx, dw3) = (b.output(shape, "dx"), b.output(Shape(classes, 8), "dw3", role: .plain))
    let (dw1, dw2) = (
      b.output(Shape(8, 8, 3, 3), "dw1", role: .filter), b.output(Shape(8, 8, 3, 3), "dw2", role: .filter)
    )
    b.run { p in
      let (x, w1, w2, w3) = (p.bind(x), p.bind(w1), p.bind(w2), p.bind(w3))
      let (inner, outer) = (p.temporary(shape), p.temporary(shape))
      let (pooled, logits) = (p.temporary(Shape(3, 8)), p.temporary(Shape(3, classes)))
      let prologue1 = Prologue(affine: p.bind(norm1.affine), activation: .relu)
      let prologue2 = Prologue(affine: p.bind(norm2.affine), activation: .relu)
      norm1.statistics(x, &p)
      p.append(
        .convolution(Convolution(input: x, filter: w1, output: inner, geometry: same, prologue: prologue1)))
      norm2.statistics(inner, &p)
      p.append(
        .convolution(
          Convolution(
            input: inner, filter: w2, output: outer, geometry: same, prologue: prologue2, residual: x)))
      p.append(.pool(Pool(input: outer, output: pooled, geometry: average)))
      p.append(.matrixProduct(MatrixProduct(a: pooled, b: w3, output: logits, transposeB: true)))
      let dlogits = p.temporary(Shape(3, classes))
      p.append(
        .softmaxCrossEntropy(
          SoftmaxCrossEntropy(
            logits: logits, labels: p.bind(labels), totals: p.bind(totals), logitsGradient: dlogits,
            gradientScale: 1.0 / 3)))
      let (dpooled, douter, dinner) = (p.temporary(Shape(3, 8)), p.temporary(shape), p.temporary(shape))
      p.append(.matrixProduct(MatrixProduct(a: dlogits, b: w3, output: dpooled)))
      p.append(.matrixProduct(MatrixProduct(a: dlogits, b: pooled, output: p.bind(dw3), transposeA: true)))
      p.append(
        .poolGradient(
          PoolGradient(outputGradient: dpooled, input: nil, inputGradient: douter, geometry: average)))
      p.append(
        .convolutionFilterGradient(
          ConvolutionFilterGradient(
            input: inner, outputGradient: douter, filterGradient: p.bind(dw2), geometry: same,
            prologue: prologue2)))
      p.append(
        .convolutionInputGradient(
          ConvolutionInputGradient(outputGradient: douter, filter: w2, inputGradient: dinner, geometry: same))
      )
      norm2.gradients(dinner, input: inner, .relu, to: dinner, &p)
      p.append(
        .convolutionFilterGradient(
          ConvolutionFilterGradient(
            input: x, outputGradient: dinner, filterGradient: p.bind(dw1), geometry: same, prologue: prologue1
          )))
      let dactivated = p.temporary(shape)
      p.append(
        .convolutionInputGradient(
          ConvolutionInputGradient(
            outputGradient: dinner, filter: w1, inputGradient: dactivated, geometry: same)))
      // The shortcut's gradient first, then the branch's is added.
      p.append(.copy(Copy(input: douter, output: p.bind(dx))))
      norm1.gradients(dactivated, input: x, .relu, to: p.bind(dx), accumulate: true, &p)
    }
  }

  /// A block in evaluation mode with the input's gradient and a PGD step: what every attack step does.
  private static let evaluationBlock = OperatorCase("chain/evaluation block, PGD") { b in
    let (shape, wide) = (Shape(2, 3, 8, 8), Shape(2, 16, 8, 8))
    let same = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, padding: 1)
    let (x, w) = (b.pixels(shape, "origin"), b.filter(Shape(16, 3, 3, 3)))
    let (z, g) = (b.output(shape, "z"), b.image(wide, "dy"))
    let dx = b.output(shape, "dx")
    let (gamma, beta) = (b.positiveVector(16, "gamma"), b.vector(16, "beta"))
    let (mean, variance) = (b.vector(16, "running mean"), b.positiveVector(16, "running variance"))
    b.run { p in
      let affine = ChannelAffine(
        scale: p.temporary(.vector(16), role: .plain), shift: p.temporary(.vector(16), role: .plain))
      let (y, dz) = (p.temporary(wide), p.temporary(wide))
      let (x, w, z) = (p.bind(x), p.bind(w), p.bind(z))
      p.append(
        .batchNormFold(
          BatchNormFold(
            gamma: p.bind(gamma), beta: p.bind(beta), runningMean: p.bind(mean),
            runningVariance: p.bind(variance),
            affine: affine)))
      p.append(.copy(Copy(input: x, output: z)))
      p.append(.convolution(Convolution(input: z, filter: w, output: y, geometry: same)))
      p.append(
        .affineActivationGradient(
          AffineActivationGradient(
            outputGradient: p.bind(g), input: y, affine: affine, activation: .relu, inputGradient: dz)))
      p.append(
        .convolutionInputGradient(
          ConvolutionInputGradient(outputGradient: dz, filter: w, inputGradient: p.bind(dx), geometry: same)))
      p.append(
        .pgdStep(PGDStep(adversarial: z, origin: x, gradient: p.bind(dx), stepSize: 0.01, epsilon: 0.03)))
    }
  }

  /// Two programs that are compiled together: their temporaries share memory, their bound tensors don't.
  private static let sharedArena = OperatorCase("chain/two programs, one arena") { b in
    let shape = Shape(2, 5, 6, 6)
    let (x, y, z) = (b.image(shape), b.output(shape), b.output(shape, "z"))
    b.run { p in
      let t = p.temporary(shape)
      p.append(.affineActivation(AffineActivation(input: p.bind(x), activation: .tanh, output: t)))
      p.append(.add(Add(a: t, b: p.bind(x), output: p.bind(y))))
    }
    b.run { p in
      let t = p.temporary(shape)
      let u = p.temporary(Shape(2, 5, 12, 12))
      p.append(.resize(Resize(input: p.bind(y), output: u, interpolation: .bilinear, alignCorners: true)))
      let halve = PoolGeometry(.average, kernelHeight: 2, kernelWidth: 2, stride: 2)
      p.append(.pool(Pool(input: u, output: t, geometry: halve)))
      p.append(.add(Add(a: t, b: p.bind(x), output: p.bind(z))))
    }
  }

  /// A long chain of temporaries of two alternating places.
  private static let pingPong = OperatorCase("chain/ping-pong of temporaries") { b in
    let shape = Shape(2, 7, 5, 5)
    let (x, y) = (b.image(shape), b.output(shape))
    let affines = (0..<9).map { _ in b.affine(7) }
    b.run { p in
      var current = p.bind(x)
      for (i, affine) in affines.enumerated() {
        let next = i == affines.count - 1 ? p.bind(y) : p.temporary(shape)
        p.append(
          .affineActivation(
            AffineActivation(input: current, affine: p.bind(affine), activation: .tanh, output: next)))
        current = next
      }
    }
  }

  /// Values of different sizes that live across others.
  private static let branches = OperatorCase("chain/long and short lives") { b in
    let (shape, half) = (Shape(2, 4, 8, 8), Shape(2, 4, 4, 4))
    let (x, y) = (b.image(shape), b.output(shape))
    let halve = PoolGeometry(.maximum, kernelHeight: 2, kernelWidth: 2, stride: 2)
    b.run { p in
      let (early, small, grown) = (p.temporary(shape), p.temporary(half), p.temporary(shape))
      let (smaller, sum) = (p.temporary(half), p.temporary(shape))
      p.append(.affineActivation(AffineActivation(input: p.bind(x), activation: .sigmoid, output: early)))
      p.append(.pool(Pool(input: early, output: small, geometry: halve)))
      p.append(.affineActivation(AffineActivation(input: small, activation: .tanh, output: smaller)))
      p.append(.resize(Resize(input: smaller, output: grown, interpolation: .bicubic, alignCorners: false)))
      p.append(.add(Add(a: grown, b: p.bind(x), output: sum)))
      p.append(.add(Add(a: sum, b: early, output: p.bind(y))))
    }
  }
}
