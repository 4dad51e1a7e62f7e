import CKernels

extension CPUCompiler {
  func softmaxCrossEntropy(_ d: SoftmaxCrossEntropy) throws -> Step {
    let (logits, labels) = (try floats(d.logits), try integers(d.labels))
    let gradient = try floats(d.logitsGradient)
    let classes = shape(d.logits).c
    return try losses(d.logits, totals: d.totals) { row, correct in
      pbe_cross_entropy(
        logits + row * classes, classes, labels[row], d.smoothing, d.gradientScale,
        gradient.map { $0 + row * classes }, &correct)
    }
  }

  func distillation(_ d: Distillation) throws -> Step {
    let (logits, teacher) = (try floats(d.logits), try floats(d.teacher))
    let (labels, gradient) = (try integers(d.labels), try floats(d.logitsGradient))
    let classes = shape(d.logits).c
    return try losses(d.logits, totals: d.totals) { row, correct in
      let first = row * classes
      return pbe_distillation(
        logits + first, teacher + first, classes, labels[row], d.temperature, d.labelShare, d.gradientScale,
        gradient + first, &correct)
    }
  }

  /// Adds up the losses of all rows, and how many are answered right.
  private func losses(
    _ logits: Value, totals: Value, of row: @escaping (_ row: Int, _ correct: inout Int32) -> Float
  ) throws -> Step {
    let (rows, totals) = (shape(logits).n, try floats(totals))
    return { _ in
      var (loss, right) = (0.0, 0)
      for index in 0..<rows {
        var correct: Int32 = 0
        loss += Double(row(index, &correct))
        right += Int(correct)
      }
      totals[0] += Float(loss)
      totals[1] += Float(right)
    }
  }

  func argMax(_ d: ArgMax) throws -> Step {
    let (x, y) = (try floats(d.input), try integers(d.output))
    let (rows, columns) = (shape(d.input).n, shape(d.input).c)
    return { _ in
      for row in 0..<rows { y[row] = pbe_arg_max(x + row * columns, columns) }
    }
  }

  func agreement(_ d: Agreement) throws -> Step {
    let (a, b, y) = (try floats(d.a), try floats(d.b), try floats(d.output))
    let (rows, columns) = (shape(d.a).n, shape(d.a).c)
    return { _ in
      for row in 0..<rows { y[row] = pbe_agreement(a + row * columns, b + row * columns, columns) }
    }
  }

  func sum(_ d: Sum) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let count = shape(d.input).count
    return { _ in y[0] = Float(pbe_sum(x, count)) }
  }
}
