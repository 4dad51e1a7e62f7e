import Kernels

extension GoldenCases {
  /// Patterns made from images, put on flagged ones, and the gradient in the patterns.
  static func trigger(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, pattern, mask) = (
      try golden.tensor("x"), try golden.tensor("pattern"), try golden.tensor("mask")
    )
    let (flags, y) = (try golden.tensor("flags"), try golden.tensor("y"))
    let (dy, dpattern) = (try golden.tensor("dy"), try golden.tensor("dpattern"))
    return OperatorCase(name) { b in
      let (x, pattern, mask) = (b.image(x, "x"), b.image(pattern, "pattern"), b.image(mask, "mask"))
      let (flags, y) = (b.golden(flags, "flags"), b.output(y, "y"))
      let (dy, dpattern) = (b.image(dy, "dy"), b.output(dpattern, "dpattern"))
      b.run { p in
        p.append(
          .applyTrigger(
            ApplyTrigger(
              input: p.bind(x), pattern: p.bind(pattern), mask: p.bind(mask), flags: p.bind(flags),
              output: p.bind(y), kind: .blend, clip: false)))
        p.append(
          .applyTriggerGradient(
            ApplyTriggerGradient(
              outputGradient: p.bind(dy), mask: p.bind(mask), flags: p.bind(flags),
              patternGradient: p.bind(dpattern))))
      }
    }
  }

  /// The diversity loss of neighbours and its gradient.
  static func diversity(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, y) = (try golden.tensor("x"), try golden.tensor("y"))
    let (loss, dy) = (try golden.tensor("loss"), try golden.tensor("dy"))
    return OperatorCase(name) { b in
      let (x, y, dy) = (b.image(x, "x"), b.image(y, "y"), b.output(dy, "dy"))
      let total = b.tensor("total", [0], .vector(1))
      b.expect(total, loss.values)
      b.run { p in ParityTable.appendDiversity(of: x, y, total, dy, weight: 1, to: &p) }
    }
  }
}
