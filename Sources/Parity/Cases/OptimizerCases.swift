import Kernels

extension ParityTable {
  private static let runs = [
    RunParameters(step: 1, learningRate: 0.1), RunParameters(step: 2, learningRate: 0.1),
    RunParameters(step: 3, learningRate: 0.05),
  ]

  /// SGD and Adam, three steps each, on parameters of each role; perturbations; clipped gradients.
  static let optimizers: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for (shape, role) in [
      (Shape(1, 1), TensorRole.plain), (Shape.vector(1027), .plain), (Shape(16, 3, 3, 3), .filter),
    ] {
      for (momentum, decay, nesterov) in [(0.9, 5e-4, false), (0.9, 5e-4, true), (0, 0, false)]
        as [(Float, Float, Bool)]
      {
        cases.append(sgd(shape, role, momentum, decay, nesterov))
      }
      cases.append(adam(shape, role, decay: 0))
      cases.append(adam(shape, role, decay: 1e-2))
    }
    cases.append(adamFromZero)
    cases.append(adamLate)
    // Around the ends of the stages that sum the norm.
    for count in [1, 64, 65, 1027, 5000, 100_003] {
      for adaptive in [false, true] { cases.append(perturbation(.vector(count), adaptive: adaptive)) }
      for most: Float in [0.3, 3] { cases.append(clipping(.vector(count), to: most)) }
    }
    cases.append(perturbation(Shape(16, 3, 3, 3), .filter, adaptive: true))
    cases += [perturbationUndone, perturbationWithoutGradient]
    cases += [clipping(Shape(16, 3, 3, 3), .filter, to: 0.3), clippingNothing]
    return cases
  }()

  private static func sgd(
    _ shape: Shape, _ role: TensorRole, _ momentum: Float, _ decay: Float, _ nesterov: Bool
  ) -> OperatorCase {
    OperatorCase(
      "sgd/\(shape), momentum \(momentum) decay \(decay)\(nesterov ? " nesterov" : "")",
      bound: OperatorCase.elementwiseBound
    ) { b in
      let p0 = b.tensor("parameters", b.normal(shape.count), shape, role: role)
      let g = b.tensor("gradients", b.normal(shape.count), shape, role: role)
      let v = b.tensor("velocity", Array(repeating: 0, count: shape.count), shape, role: role)
      b.run(runs[0]) { p in
        p.append(
          .sgd(
            SGD(
              parameters: p.bind(p0), gradients: p.bind(g), velocity: p.bind(v), momentum: momentum,
              weightDecay: decay, nesterov: nesterov)))
      }
      for run in runs.dropFirst() { b.again(run) }
    }
  }

  private static func adamCase(
    _ name: String, _ shape: Shape, _ role: TensorRole, start: Double, decay: Float, _ runs: [RunParameters]
  ) -> OperatorCase {
    OperatorCase("adam/\(name)", bound: 1e-11) { b in
      let p0 = b.tensor("parameters", b.normal(shape.count, scale: start), shape, role: role)
      let g = b.tensor("gradients", b.normal(shape.count), shape, role: role)
      let zeros = [Double](repeating: 0, count: shape.count)
      let m = b.tensor("first moment", zeros, shape, role: role)
      let v = b.tensor("second moment", zeros, shape, role: role)
      for (i, run) in runs.enumerated() {
        if i > 0 {
          b.again(run)
          continue
        }
        b.run(run) { p in
          p.append(
            .adam(
              Adam(
                parameters: p.bind(p0), gradients: p.bind(g), firstMoment: p.bind(m), secondMoment: p.bind(v),
                weightDecay: decay)))
        }
      }
    }
  }

  private static func adam(_ shape: Shape, _ role: TensorRole, decay: Float) -> OperatorCase {
    adamCase("\(shape), decay \(decay)", shape, role, start: 1, decay: decay, runs)
  }

  /// Parameters that start at zero show the step alone, and so the bias correction: 1 - 0.999^t in single precision
  /// would have lost five digits.
  private static let adamFromZero = adamCase("from zero", .vector(100), .plain, start: 0, decay: 0, runs)

  /// A step so late that the corrections are nearly one.
  private static let adamLate = adamCase(
    "late", .vector(100), .plain, start: 0, decay: 0, [RunParameters(step: 123_456, learningRate: 1e-3)])

  /// The perturbation is about as large as the parameters, so that the error of either shows.
  static func perturbation(_ shape: Shape, _ role: TensorRole = .plain, adaptive: Bool) -> OperatorCase {
    OperatorCase(
      "perturbWeights/\(shape)\(adaptive ? ", adaptive" : "")", bound: OperatorCase.elementwiseBound
    ) { b in
      let p0 = b.tensor("parameters", b.normal(shape.count), shape, role: role)
      let g = b.tensor("gradients", b.normal(shape.count, scale: 0.01), shape, role: role)
      let saved = b.output(shape, "saved", role: role)
      b.run { p in
        p.append(
          .perturbWeights(
            PerturbWeights(
              parameters: p.bind(p0), gradients: p.bind(g), saved: p.bind(saved),
              radius: Float(shape.count).squareRoot(), adaptive: adaptive)))
      }
      b.again(RunParameters())
    }
  }

  /// Gradients of about length 1, to a length of `most`. What is shorter keeps every bit.
  static func clipping(_ shape: Shape, _ role: TensorRole = .plain, to most: Float) -> OperatorCase {
    OperatorCase("clipGradients/\(shape) to \(most)", bound: most < 1 ? OperatorCase.elementwiseBound : 0) {
      b in
      // Of one value the length is as uncertain as that is.
      let values = shape.count == 1 ? [1] : b.normal(shape.count, scale: 1 / Double(shape.count).squareRoot())
      let g = b.tensor("gradients", values, shape, role: role)
      b.run { p in p.append(.clipGradients(ClipGradients(gradients: p.bind(g), length: most))) }
    }
  }

  private static let clippingNothing = OperatorCase("clipGradients/no gradient", bound: 0) { b in
    let (other, sum) = (b.vector(70, "other"), b.outputVector(70, "sum"))
    b.run { p in
      let gradients = p.temporary(.vector(70), role: .plain)
      p.append(.fill(Fill(output: gradients, value: 0)))
      p.append(.clipGradients(ClipGradients(gradients: gradients, length: 1)))
      p.append(.add(Add(a: gradients, b: p.bind(other), output: p.bind(sum))))
    }
  }

  /// What was saved brings back every bit.
  private static let perturbationUndone = OperatorCase("perturbWeights/undone", bound: 0) { b in
    let (p0, g) = (b.vector(300, "parameters"), b.vector(300, "gradients"))
    b.run { p in
      let (parameters, saved) = (p.bind(p0), p.temporary(.vector(300), role: .plain))
      p.append(
        .perturbWeights(
          PerturbWeights(
            parameters: parameters, gradients: p.bind(g), saved: saved, radius: 3, adaptive: true)))
      p.append(.copy(Copy(input: saved, output: parameters)))
    }
  }

  private static let perturbationWithoutGradient = OperatorCase("perturbWeights/no gradient", bound: 0) { b in
    let (p0, saved) = (b.vector(70, "parameters"), b.outputVector(70, "saved"))
    let g = b.tensor("gradients", Array(repeating: 0, count: 70), .vector(70))
    b.run { p in
      p.append(
        .perturbWeights(
          PerturbWeights(
            parameters: p.bind(p0), gradients: p.bind(g), saved: p.bind(saved), radius: 2, adaptive: false)))
    }
  }
}
