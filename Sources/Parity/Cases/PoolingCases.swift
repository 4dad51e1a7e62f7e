import Kernels

extension PoolGeometry {
  fileprivate var name: String {
    "\(kind == .maximum ? "maximum" : "average") \(kernelHeight)x\(kernelWidth) stride \(stride) padding \(padding)"
  }

  fileprivate init(_ kind: Kind, _ kernel: Int, stride: Int, padding: Int = 0) {
    self.init(kind, kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: padding)
  }
}

extension ParityTable {
  /// Pooling, forward and back: disjoint and overlapping windows, padding, global.
  static let pooling: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for kind in [PoolGeometry.Kind.maximum, .average] {
      for (shape, geometry) in [
        (Shape(2, 3, 12, 12), PoolGeometry(kind, 2, stride: 2)),
        (Shape(2, 3, 12, 12), PoolGeometry(kind, 3, stride: 2, padding: 1)),
        (Shape(2, 16, 9, 7), PoolGeometry(kind, 3, stride: 2)),
        (Shape(1, 5, 8, 8), PoolGeometry(kind, 3, stride: 1, padding: 1)),
        (Shape(2, 64, 4, 4), PoolGeometry(kind, 4, stride: 4)),
        (Shape(2, 8, 11, 11), PoolGeometry(kind, 2, stride: 3)),
        (Shape(3, 17, 5, 6), PoolGeometry(kind, kernelHeight: 5, kernelWidth: 6, stride: 1)),
        (Shape(2, 4, 6, 6), PoolGeometry(kind, kernelHeight: 2, kernelWidth: 3, stride: 2, padding: 1)),
        (Shape(4, 3, 1, 1), PoolGeometry(kind, 1, stride: 1)),
      ] {
        cases.append(forward(shape, geometry))
        cases.append(backward(shape, geometry))
        cases.append(backward(shape, geometry, accumulate: true))
      }
    }
    cases.append(ties)
    return cases
  }()

  private static func forward(_ shape: Shape, _ geometry: PoolGeometry) -> OperatorCase {
    OperatorCase("pool/\(shape), \(geometry.name)", bound: OperatorCase.elementwiseBound) { b in
      let (x, y) = (b.image(shape), b.output(geometry.output(shape)))
      b.run { p in p.append(.pool(Pool(input: p.bind(x), output: p.bind(y), geometry: geometry))) }
    }
  }

  private static func backward(
    _ shape: Shape, _ geometry: PoolGeometry, accumulate: Bool = false
  ) -> OperatorCase {
    OperatorCase(
      "poolGradient/\(shape), \(geometry.name)\(accumulate ? ", accumulate" : "")",
      bound: OperatorCase.elementwiseBound
    ) { b in
      let x = geometry.kind == .maximum ? b.image(shape) : nil
      let dy = b.image(geometry.output(shape), "dy")
      let dx = accumulate ? b.image(shape, "dx") : b.output(shape, "dx")
      b.run { p in
        p.append(
          .poolGradient(
            PoolGradient(
              outputGradient: p.bind(dy), input: x.map { p.bind($0) }, inputGradient: p.bind(dx),
              geometry: geometry,
              accumulate: accumulate)))
      }
    }
  }

  /// Equal largest elements, as in a flat image: the first takes the gradient. All negative, so that padding with
  /// zeros would show.
  private static let ties = OperatorCase("poolGradient/equal elements") { b in
    let (shape, geometry) = (Shape(2, 3, 6, 6), PoolGeometry(.maximum, 3, stride: 2, padding: 1))
    let values = b.draw(shape.count, below: 3).map { Double($0) - 3 }
    let x = b.tensor("x", values, shape, role: .image)
    let dy = b.image(geometry.output(shape), "dy")
    let (y, dx) = (b.output(geometry.output(shape)), b.output(shape, "dx"))
    b.run { p in
      p.append(.pool(Pool(input: p.bind(x), output: p.bind(y), geometry: geometry)))
      p.append(
        .poolGradient(
          PoolGradient(
            outputGradient: p.bind(dy), input: p.bind(x), inputGradient: p.bind(dx), geometry: geometry)))
    }
  }
}
