import Kernels

extension ParityTable {
  private static let shapes = [Shape(3, 50), Shape(2, 5, 7, 3), Shape(1, 7), Shape(2, 16, 16, 16)]

  /// Activations with and without an affine map, forward and back.
  static let activations: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for activation in Activation.everyCase {
      for shape in shapes {
        for affine in [false, true] {
          cases.append(forward(shape, activation, affine: affine))
          cases.append(backward(shape, activation, affine: affine))
        }
      }
      cases.append(backward(shapes[1], activation, affine: true, accumulate: true))
      cases.append(extremes(activation))
    }
    cases.append(forward(shapes[1], .relu, affine: true, inPlace: true))
    cases.append(backward(shapes[1], .silu, affine: true, inPlace: true))
    cases.append(kinks(.relu, at: 0))
    cases.append(kinks(.leakyReLU(slope: 0.2), at: 0))
    cases.append(kinks(.hardSwish, at: -3))
    cases.append(kinks(.hardSwish, at: 3))
    return cases
  }()

  private static func forward(
    _ shape: Shape, _ activation: Activation, affine: Bool, inPlace: Bool = false
  ) -> OperatorCase {
    OperatorCase(
      "affineActivation/\(shape), \(activation)\(affine ? " affine" : "")\(inPlace ? " in place" : "")",
      bound: OperatorCase.elementwiseBound
    ) { b in
      let x = b.image(shape, scale: 2)
      let y = inPlace ? x : b.output(shape)
      let map = affine ? b.affine(shape.c) : nil
      b.run { p in
        p.append(
          .affineActivation(
            AffineActivation(
              input: p.bind(x), affine: map.map { p.bind($0) }, activation: activation, output: p.bind(y))))
      }
    }
  }

  private static func backward(
    _ shape: Shape, _ activation: Activation, affine: Bool, accumulate: Bool = false, inPlace: Bool = false
  ) -> OperatorCase {
    let extras = (affine ? " affine" : "") + (accumulate ? " accumulate" : "") + (inPlace ? " in place" : "")
    // The sum of squares is that of differences such as s * (1 - s): a few more roundings than elementwise.
    return OperatorCase("affineActivationGradient/\(shape), \(activation)\(extras)", bound: 1e-11) { b in
      let (x, dy) = (b.image(shape, scale: 2), b.image(shape, "dy"))
      let dx = inPlace ? dy : accumulate ? b.image(shape, "dx") : b.output(shape, "dx")
      let map = affine ? b.affine(shape.c) : nil
      b.run { p in gradient(x, dy, dx, map, activation, accumulate, &p) }
    }
  }

  private static func gradient(
    _ x: Tensor, _ dy: Tensor, _ dx: Tensor, _ map: (scale: Tensor, shift: Tensor)?, _ activation: Activation,
    _ accumulate: Bool, _ p: inout Program
  ) {
    p.append(
      .affineActivationGradient(
        AffineActivationGradient(
          outputGradient: p.bind(dy), input: p.bind(x), affine: map.map { p.bind($0) },
          activation: activation,
          inputGradient: p.bind(dx), accumulate: accumulate)))
  }

  /// Arguments so large that a careless exponential overflows.
  private static func extremes(_ activation: Activation) -> OperatorCase {
    OperatorCase("affineActivation/extremes, \(activation)", bound: 1e-11) { b in
      let values = [
        -1000, -200, -100, -89, -50, -20, -10, -4, -1e-3, 1e-3, 2.9, 4, 10, 20, 50, 89, 100, 200, 1000,
      ]
      .map { Double(Float($0)) }
      // Large and small results are compared apart, or the large ones would hide the others; both halves hold
      // 1e-3, where derivatives are not the difference of two numbers near one.
      for half in [values.prefix(10), values.suffix(10)] {
        let shape = Shape(1, half.count)
        let x = b.tensor("x", Array(half), shape, role: .image)
        let dy = b.tensor("dy", half.map { _ in 1 }, shape, role: .image)
        let (y, dx) = (b.output(shape), b.output(shape, "dx"))
        b.run { p in
          p.append(
            .affineActivation(AffineActivation(input: p.bind(x), activation: activation, output: p.bind(y))))
          gradient(x, dy, dx, nil, activation, false, &p)
        }
      }
    }
  }

  /// The gradient exactly at the kink, and on both sides: PyTorch's convention.
  private static func kinks(_ activation: Activation, at kink: Double) -> OperatorCase {
    OperatorCase("affineActivationGradient/at \(kink), \(activation)", bound: OperatorCase.elementwiseBound) {
      b in
      let shape = Shape(2, 3, 2, 2)
      let values: [Double] = (0..<shape.count).map { kink + Double($0 % 3 - 1) }
      let x = b.tensor("x", values, shape, role: .image)
      let (dy, dx) = (b.image(shape, "dy"), b.output(shape, "dx"))
      b.run { p in gradient(x, dy, dx, nil, activation, false, &p) }
    }
  }
}
