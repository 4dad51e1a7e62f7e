import Kernels

extension ParityTable {
  /// The PGD step and fixed triggers.
  static let attacks: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for shape in [Shape(2, 3, 8, 8), Shape(3, 7), Shape(3, 5, 7, 3)] {
      for clip in [false, true] {
        cases.append(pgd(shape, clip: clip))
        cases.append(pgdL2(shape, clip: clip, gradientScale: 1))
        for kind in [ApplyTrigger.Kind.blend, .additive] {
          for flagged in [false, true] {
            cases.append(trigger(shape, kind, flagged: flagged, clip: clip, inPlace: false))
          }
        }
      }
      cases.append(trigger(shape, .blend, flagged: true, clip: true, inPlace: true))
    }
    // The squares of such gradients are zero in single precision.
    cases.append(pgdL2(Shape(2, 3, 8, 8), clip: false, gradientScale: 1e-25))
    return cases
  }()

  private static func pgd(_ shape: Shape, clip: Bool) -> OperatorCase {
    OperatorCase("pgdStep/\(shape)\(clip ? ", clip" : "")", bound: OperatorCase.elementwiseBound) { b in
      let values = b.uniform(shape.count)
      // Inside the ball, and at its edge so that the projection acts; gradients of both signs and exactly zero, none
      // of them so small that its sign would be a matter of rounding.
      let moved = zip(values, b.uniform(shape.count)).map { Double(Float($0 + ($1 - 0.5) * 0.046)) }
      let signs = b.uniform(shape.count).map { $0 < 0.1 ? 0 : $0 < 0.55 ? -1.0 : 1 }
      let gradients = zip(signs, b.uniform(shape.count)).map { Double(Float($0 * ($1 + 0.001))) }
      step(&b, shape, from: values, at: moved, gradients, times: 3) {
        PGDStep(
          adversarial: $0, origin: $1, gradient: $2, stepSize: 6.0 / 255 / 5, epsilon: 6.0 / 255, clip: clip)
      }
    }
  }

  /// Runs the operator several times on tensors of one shape.
  private static func step(
    _ b: inout CaseBuilder, _ shape: Shape, from origin: [Double], at adversarial: [Double],
    _ gradients: [Double], times: Int,
    _ operation: (_ adversarial: Value, _ origin: Value, _ gradient: Value) -> PGDStep
  ) {
    let x = b.tensor("origin", origin, shape, role: .image)
    let z = b.tensor("adversarial", adversarial, shape, role: .image)
    let g = b.tensor("gradient", gradients, shape, role: .image)
    b.run { $0.append(.pgdStep(operation($0.bind(z), $0.bind(x), $0.bind(g)))) }
    for _ in 1..<times { b.again(RunParameters()) }
  }

  private static func pgdL2(_ shape: Shape, clip: Bool, gradientScale: Double) -> OperatorCase {
    let name = "pgdStep/\(shape), L2\(clip ? ", clip" : "")\(gradientScale < 1 ? ", small gradients" : "")"
    return OperatorCase(name, bound: OperatorCase.elementwiseBound) { b in
      let values = b.uniform(shape.count)
      let size = shape.count / shape.n
      // The last sample has no gradient; of the others, some steps end inside the ball and some on its edge.
      let gradients = b.normal(shape.count, scale: 3).enumerated().map { index, g in
        index / size == shape.n - 1 ? 0 : Double(Float(gradientScale * g))
      }
      step(&b, shape, from: values, at: values, gradients, times: 4) {
        PGDStep(
          adversarial: $0, origin: $1, gradient: $2, stepSize: 0.2, epsilon: 0.5, clip: clip, norm: .two)
      }
    }
  }

  private static func trigger(
    _ shape: Shape, _ kind: ApplyTrigger.Kind, flagged: Bool, clip: Bool, inPlace: Bool
  ) -> OperatorCase {
    let extras = (flagged ? " flags" : "") + (clip ? " clip" : "") + (inPlace ? " in place" : "")
    return OperatorCase("applyTrigger/\(shape), \(kind)\(extras)", bound: OperatorCase.elementwiseBound) {
      b in
      let one = Shape(1, shape.c, shape.h, shape.w)
      let x = b.pixels(shape)
      let pattern = b.image(one, "pattern", offset: 0.5)
      // Most of a mask is zero or one.
      let weights = b.uniform(one.count).map { $0 < 0.4 ? 0 : $0 > 0.7 ? 1 : $0 }
      let mask = b.tensor("mask", weights, one, role: .image)
      let flags = flagged ? b.integers((0..<shape.n).map { ($0 + 1) % 2 }, "flags") : nil
      let y = inPlace ? x : b.output(shape)
      b.run { p in
        p.append(
          .applyTrigger(
            ApplyTrigger(
              input: p.bind(x), pattern: p.bind(pattern), mask: p.bind(mask), flags: flags.map { p.bind($0) },
              output: p.bind(y), kind: kind, clip: clip)))
      }
    }
  }
}
