import Kernels

extension ParityTable {
  /// Triggers that are made from images, and the diversity loss of what makes them.
  static let triggers: [OperatorCase] = {
    var cases: [OperatorCase] = []
    // Samples, patterns: one each, fewer patterns than samples, more.
    for (shape, patterns) in [
      (Shape(5, 3, 8, 8), 5), (Shape(7, 3, 5, 3), 3), (Shape(2, 1, 6, 7), 3), (Shape(40, 3, 16, 16), 12),
    ] {
      for oneChannel in [false, true] {
        cases.append(apply(shape, patterns, oneChannel: oneChannel))
        for accumulate in [false, true] {
          cases.append(gradient(shape, patterns, oneChannel: oneChannel, accumulate: accumulate))
        }
      }
    }
    for shape in [Shape(1, 3, 4, 4), Shape(2, 1, 5, 7), Shape(26, 3, 32, 32), Shape(9, 1, 28, 28)] {
      cases.append(distance(shape))
      cases.append(diversity(shape))
    }
    cases.append(equalNeighbours)
    return cases
  }()

  private static func name(_ shape: Shape, _ patterns: Int, _ oneChannel: Bool) -> String {
    "\(shape), \(patterns) patterns\(oneChannel ? ", mask of one channel" : "")"
  }

  /// Flags of every kind: none, the own pattern, the neighbour's, and further ones.
  private static func flags(_ count: Int, _ b: inout CaseBuilder) -> Tensor {
    b.integers((0..<count).map { [1, 0, 2, 1, 5, 0][$0 % 6] }, "flags")
  }

  private static func apply(_ shape: Shape, _ patterns: Int, oneChannel: Bool) -> OperatorCase {
    OperatorCase(
      "applyTrigger/\(name(shape, patterns, oneChannel))", bound: OperatorCase.elementwiseBound
    ) { b in
      let x = b.pixels(shape)
      let pattern = b.pixels(Shape(patterns, shape.c, shape.h, shape.w), "pattern")
      let mask = b.pixels(Shape(patterns, oneChannel ? 1 : shape.c, shape.h, shape.w), "mask")
      let (flags, y, all) = (flags(shape.n, &b), b.output(shape), b.output(shape, "all"))
      b.run { p in
        for (flags, output) in [(flags, y), (nil, all)] {
          p.append(
            .applyTrigger(
              ApplyTrigger(
                input: p.bind(x), pattern: p.bind(pattern), mask: p.bind(mask),
                flags: flags.map { p.bind($0) },
                output: p.bind(output), kind: .blend, clip: false)))
        }
      }
    }
  }

  private static func gradient(
    _ shape: Shape, _ patterns: Int, oneChannel: Bool, accumulate: Bool
  ) -> OperatorCase {
    OperatorCase(
      "applyTriggerGradient/\(name(shape, patterns, oneChannel))\(accumulate ? ", accumulate" : "")",
      bound: OperatorCase.elementwiseBound
    ) { b in
      let dy = b.image(shape, "dy")
      let one = Shape(patterns, shape.c, shape.h, shape.w)
      let mask = b.pixels(Shape(patterns, oneChannel ? 1 : shape.c, shape.h, shape.w), "mask")
      let flags = flags(shape.n, &b)
      let outputs = ["dp", "dp of all"].map { accumulate ? b.image(one, $0) : b.output(one, $0) }
      b.run { p in
        for (flags, output) in zip([flags, nil], outputs) {
          p.append(
            .applyTriggerGradient(
              ApplyTriggerGradient(
                outputGradient: p.bind(dy), mask: p.bind(mask), flags: flags.map { p.bind($0) },
                patternGradient: p.bind(output), accumulate: accumulate)))
        }
      }
    }
  }

  private static func distance(_ shape: Shape) -> OperatorCase {
    OperatorCase("neighbourDistance/\(shape)\(shape.n == 1 ? ", alone" : "")") { b in
      let (x, y) = (b.pixels(shape), b.outputVector(shape.n, "y"))
      b.run { p in
        p.append(.neighbourDistance(NeighbourDistance(input: p.bind(x), output: p.bind(y))))
      }
    }
  }

  private static func diversity(_ shape: Shape) -> OperatorCase {
    OperatorCase("diversityLoss/\(shape)\(shape.n == 1 ? ", alone" : "")") { b in
      let (x, y) = (b.pixels(shape), b.pixels(shape, "y"))
      let (total, dy) = (b.tensor("total", [0.25], .vector(1)), b.output(shape, "dy"))
      b.run { p in appendDiversity(of: x, y, total, dy, to: &p) }
    }
  }

  /// Where neighbours are equal there is no gradient; the loss is large but finite.
  private static let equalNeighbours = OperatorCase("diversityLoss/equal neighbours") { b in
    let shape = Shape(3, 2, 4, 4)
    let x = b.pixels(shape)
    let one = b.uniform(shape.count / 3)
    let y = b.tensor("y", one + one + b.uniform(shape.count / 3), shape, role: .image)
    let (total, dy) = (b.tensor("total", [0], .vector(1)), b.output(shape, "dy"))
    b.run { p in appendDiversity(of: x, y, total, dy, to: &p) }
  }

  static func appendDiversity(
    of x: Tensor, _ y: Tensor, _ total: Tensor, _ dy: Tensor, weight: Float = 1.5, to p: inout Program
  ) {
    let distances = [x, y].map { image in
      let distance = p.temporary(.vector(image.shape.n), role: .plain)
      p.append(.neighbourDistance(NeighbourDistance(input: p.bind(image), output: distance)))
      return distance
    }
    p.append(
      .diversityLoss(
        DiversityLoss(
          inputDistances: distances[0], outputDistances: distances[1], outputs: p.bind(y),
          total: p.bind(total),
          outputsGradient: p.bind(dy), gradientScale: weight)))
  }
}
