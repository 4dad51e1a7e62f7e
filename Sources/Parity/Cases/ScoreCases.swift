import Kernels

extension ParityTable {
  /// Loss, scores and reductions.
  static let scores: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for (rows, classes) in [(9, 10), (1, 2), (64, 43), (5, 257), (130, 10), (3, 2)] {
      cases.append(crossEntropy(rows, classes, gradient: true))
      cases.append(argMax(rows, classes))
      cases.append(agreement(rows, classes))
    }
    cases.append(crossEntropy(16, 10, gradient: false))
    cases.append(crossEntropy(16, 10, gradient: true, scale: 40))
    for (rows, classes, smoothing) in [(64, 10, 0.1), (33, 43, 0.1), (7, 2, 0.3), (5, 257, 0.2), (6, 10, 1)]
      as [(Int, Int, Float)]
    {
      cases.append(crossEntropy(rows, classes, gradient: true, smoothing: smoothing))
    }
    cases.append(crossEntropy(16, 10, gradient: false, smoothing: 0.1))
    cases.append(crossEntropy(16, 10, gradient: true, scale: 40, smoothing: 0.1))
    for (rows, classes, temperature, share) in [
      (64, 10, 4, 0), (33, 43, 4, 0.3), (9, 2, 1, 0.5), (5, 257, 2, 0), (6, 10, 3, 1), (130, 10, 4, 0.3),
    ] as [(Int, Int, Float, Float)] {
      cases.append(distillation(rows, classes, temperature: temperature, labelShare: share))
    }
    cases.append(distillation(16, 10, temperature: 4, labelShare: 0.3, scale: 40))
    cases.append(ties)
    for shape in [
      Shape(1, 1), Shape(3, 5, 7, 2), Shape(2, 16, 32, 32), Shape(100_003, 1), Shape(7, 1, 1, 300),
    ] {
      cases.append(sum(shape))
    }
    return cases
  }()

  private static func crossEntropy(
    _ rows: Int, _ classes: Int, gradient: Bool, scale: Double = 3, smoothing: Float = 0
  ) -> OperatorCase {
    let extras =
      (gradient ? "" : ", no gradient") + (scale == 3 ? "" : ", scale \(scale)")
      + (smoothing == 0 ? "" : ", smoothing \(smoothing)")
    return OperatorCase("softmaxCrossEntropy/\(rows)x\(classes)\(extras)") { b in
      let logits = b.image(Shape(rows, classes), "logits", scale: scale)
      let labels = b.integers(b.draw(rows, below: classes), "labels")
      let totals = b.tensor("totals", [1.5, 3], .vector(2))
      let dlogits = gradient ? b.output(Shape(rows, classes), "dlogits") : nil
      b.run { p in
        p.append(
          .softmaxCrossEntropy(
            SoftmaxCrossEntropy(
              logits: p.bind(logits), labels: p.bind(labels), totals: p.bind(totals),
              logitsGradient: dlogits.map { p.bind($0) }, gradientScale: 1 / Float(rows),
              smoothing: smoothing)))
      }
      // The totals go on from one batch to the next.
      b.again(RunParameters())
    }
  }

  private static func distillation(
    _ rows: Int, _ classes: Int, temperature: Float, labelShare: Float, scale: Double = 3
  ) -> OperatorCase {
    let extras = scale == 3 ? "" : ", scale \(scale)"
    return OperatorCase(
      "distillation/\(rows)x\(classes), temperature \(temperature), labels \(labelShare)\(extras)"
    ) { b in
      let logits = b.image(Shape(rows, classes), "logits", scale: scale)
      let teacher = b.image(Shape(rows, classes), "teacher", scale: scale)
      let labels = b.integers(b.draw(rows, below: classes), "labels")
      let totals = b.tensor("totals", [1.5, 3], .vector(2))
      let dlogits = b.output(Shape(rows, classes), "dlogits")
      b.run { p in
        p.append(
          .distillation(
            Distillation(
              logits: p.bind(logits), teacher: p.bind(teacher), labels: p.bind(labels),
              totals: p.bind(totals),
              logitsGradient: p.bind(dlogits), gradientScale: 1 / Float(rows), temperature: temperature,
              labelShare: labelShare)))
      }
      b.again(RunParameters())
    }
  }

  private static func argMax(_ rows: Int, _ classes: Int) -> OperatorCase {
    OperatorCase("argMax/\(rows)x\(classes)") { b in
      let (x, y) = (b.image(Shape(rows, classes)), b.outputVector(rows, "y", type: .int32))
      b.run { p in p.append(.argMax(ArgMax(input: p.bind(x), output: p.bind(y)))) }
    }
  }

  private static func agreement(_ rows: Int, _ classes: Int) -> OperatorCase {
    // Near a cosine of -1 the result is a small difference: bounded by the sum's rounding, not its own size.
    OperatorCase("agreement/\(rows)x\(classes)") { b in
      let a = b.matrix(rows, classes, "a", scale: 3)
      var values = b.normal(rows * classes)
      // A row of zeros, and large logits.
      if rows > 2 { for j in 0..<classes { values[classes + j] = 0 } }
      if rows > 4 { for j in 0..<classes { values[3 * classes + j] *= 10_000 } }
      let c = b.tensor("b", values, Shape(rows, classes))
      let y = b.outputVector(rows, "y")
      b.run { p in p.append(.agreement(Agreement(a: p.bind(a), b: p.bind(c), output: p.bind(y)))) }
    }
  }

  /// Equal largest elements: the first counts, also for the number of right answers.
  private static let ties = OperatorCase("argMax/equal elements") { b in
    let shape = Shape(24, 6)
    let x = b.tensor("x", b.draw(shape.count, below: 2).map(Double.init), shape, role: .image)
    let (y, totals) = (b.outputVector(24, "y", type: .int32), b.tensor("totals", [0, 0], .vector(2)))
    let labels = b.integers(b.draw(24, below: 3), "labels")
    b.run { p in
      p.append(.argMax(ArgMax(input: p.bind(x), output: p.bind(y))))
      p.append(
        .softmaxCrossEntropy(
          SoftmaxCrossEntropy(logits: p.bind(x), labels: p.bind(labels), totals: p.bind(totals))))
    }
  }

  static func sum(_ shape: Shape) -> OperatorCase {
    OperatorCase("sum/\(shape)") { b in
      let (x, y) = (b.image(shape, offset: 0.5), b.outputVector(1, "y"))
      b.run { p in p.append(.sum(Sum(input: p.bind(x), output: p.bind(y)))) }
    }
  }
}
