import Kernels

extension ParityTable {
  private static let seed: UInt64 = 0x1234_5678_9ABC_DEF0

  /// Addition, multiplication, dropout, random numbers, filling, copying.
  static let elementwise: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for shape in [Shape(2, 3, 5, 7), Shape(1, 1), Shape(3, 16, 8, 8)] {
      cases.append(add(shape, inPlace: false))
      cases.append(add(shape, inPlace: true))
      for inPlace in [false, true] { cases.append(multiply(shape, inPlace: inPlace)) }
      for inPlace in [false, true] { cases.append(dropout(shape, inPlace: inPlace)) }
      cases.append(randomUniform(shape, low: 0, high: 1))
      cases.append(randomUniform(shape, low: -0.03, high: 0.02))
      cases.append(copy(shape))
    }
    cases += [fillFloat, fillInteger, copyIntegers, copyBytes]
    return cases
  }()

  private static func add(_ shape: Shape, inPlace: Bool) -> OperatorCase {
    OperatorCase("add/\(shape)\(inPlace ? " in place" : "")", bound: OperatorCase.elementwiseBound) { b in
      let (a, c) = (b.image(shape, "a"), b.image(shape, "b"))
      let y = inPlace ? c : b.output(shape)
      b.run { p in p.append(.add(Add(a: p.bind(a), b: p.bind(c), output: p.bind(y)))) }
    }
  }

  private static func multiply(_ shape: Shape, inPlace: Bool) -> OperatorCase {
    OperatorCase(
      "multiply/\(shape)\(inPlace ? " in place" : "")", bound: OperatorCase.elementwiseBound
    ) { b in
      let (a, c) = (b.image(shape, "a"), b.image(shape, "b"))
      let y = inPlace ? a : b.output(shape)
      b.run { p in p.append(.multiply(Multiply(a: p.bind(a), b: p.bind(c), output: p.bind(y)))) }
    }
  }

  /// Indices of samples as a batch of a shuffled data set has them.
  private static func samples(_ count: Int, _ b: inout CaseBuilder) -> Tensor {
    b.integers((0..<count).map { $0 * 7919 % 50_000 + ($0 == 1 ? 1_000_000 : 0) }, "samples")
  }

  private static func dropout(_ shape: Shape, inPlace: Bool) -> OperatorCase {
    OperatorCase("dropout/\(shape)\(inPlace ? " in place" : "")", bound: OperatorCase.elementwiseBound) { b in
      let (x, samples) = (b.image(shape), samples(shape.n, &b))
      let y = inPlace ? x : b.output(shape)
      b.run(RunParameters(epoch: 3)) { p in
        p.append(
          .dropout(
            Dropout(
              input: p.bind(x), samples: p.bind(samples), output: p.bind(y), rate: 0.3, seed: seed, purpose: 9
            )))
      }
    }
  }

  private static func randomUniform(_ shape: Shape, low: Float, high: Float) -> OperatorCase {
    OperatorCase("randomUniform/\(shape), \(low) to \(high)", bound: OperatorCase.elementwiseBound) { b in
      let (samples, y) = (samples(shape.n, &b), b.output(shape))
      b.run(RunParameters(epoch: 2)) { p in
        p.append(
          .randomUniform(
            RandomUniform(
              samples: p.bind(samples), output: p.bind(y), low: low, high: high, seed: seed, purpose: 5)))
      }
    }
  }

  private static func copy(_ shape: Shape) -> OperatorCase {
    OperatorCase("copy/\(shape)", bound: 0) { b in
      let (x, y) = (b.image(shape), b.output(shape))
      b.run { p in p.append(.copy(Copy(input: p.bind(x), output: p.bind(y)))) }
    }
  }

  private static let fillFloat = OperatorCase("fill/float", bound: 0) { b in
    let (y, z) = (b.output(Shape(3, 5, 7, 2)), b.outputVector(1, "z"))
    b.run { p in
      p.append(.fill(Fill(output: p.bind(y), value: 0.25)))
      p.append(.fill(Fill(output: p.bind(z), value: 0)))
    }
  }

  private static let fillInteger = OperatorCase("fill/integers") { b in
    let y = b.outputVector(77, "y", type: .int32)
    b.run { p in p.append(.fill(Fill(output: p.bind(y), value: -3))) }
  }

  private static let copyIntegers = OperatorCase("copy/integers") { b in
    let (x, y) = (b.integers(b.draw(33, below: 1000), "x"), b.outputVector(33, "y", type: .int32))
    b.run { p in p.append(.copy(Copy(input: p.bind(x), output: p.bind(y)))) }
  }

  /// So many that they end inside a word.
  private static let copyBytes = OperatorCase("copy/bytes") { b in
    let shape = Shape.vector(1027)
    let x = b.tensor("x", b.draw(shape.count, below: 255).map(Double.init), shape, type: .uint8)
    let y = b.output(shape, type: .uint8, role: .plain)
    b.run { p in p.append(.copy(Copy(input: p.bind(x), output: p.bind(y)))) }
  }
}
