import Kernels

extension ParityTable {
  /// Matrix products (linear layers and their gradients) and channel sums (bias gradients).
  static let matrixProducts: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for (m, n, k) in [
      (6, 11, 37), (1, 1, 1), (1, 10, 512), (16, 43, 64), (64, 64, 64), (33, 65, 129), (128, 10, 7),
    ] {
      for transposeA in [false, true] {
        for transposeB in [false, true] {
          cases.append(matrixProduct(m, n, k, transposeA, transposeB))
        }
      }
    }
    for transposeA in [false, true] {
      for transposeB in [false, true] {
        cases.append(matrixProduct(5, 9, 13, transposeA, transposeB, bias: true))
        cases.append(matrixProduct(5, 9, 13, transposeA, transposeB, accumulate: true))
        cases.append(matrixProduct(17, 18, 19, transposeA, transposeB, bias: true, accumulate: true))
      }
    }
    cases.append(linearOfImage)
    for shape in [
      Shape(2, 3, 5, 7), Shape(1, 1, 1, 1), Shape(4, 16, 8, 8), Shape(9, 130), Shape(1, 64, 33, 32),
    ] {
      cases.append(
        OperatorCase("channelSum/\(shape)") { b in
          let (x, y) = (b.image(shape), b.outputVector(shape.c, "y"))
          b.run { p in p.append(.channelSum(ChannelSum(input: p.bind(x), output: p.bind(y)))) }
        })
    }
    return cases
  }()

  private static func matrixProduct(
    _ m: Int, _ n: Int, _ k: Int, _ transposeA: Bool, _ transposeB: Bool, bias: Bool = false,
    accumulate: Bool = false
  ) -> OperatorCase {
    let extras = (bias ? " bias" : "") + (accumulate ? " accumulate" : "")
    return OperatorCase(
      "matrixProduct/\(m)x\(n)x\(k)\(transposeA ? " A^T" : "")\(transposeB ? " B^T" : "")\(extras)"
    ) { b in
      let a = transposeA ? b.matrix(k, m, "a") : b.matrix(m, k, "a")
      let c = transposeB ? b.matrix(n, k, "b") : b.matrix(k, n, "b")
      let y = accumulate ? b.matrix(m, n, "y") : b.output(Shape(m, n), role: .plain)
      let vector = bias ? b.vector(n, "bias") : nil
      b.run { p in
        p.append(
          .matrixProduct(
            MatrixProduct(
              a: p.bind(a), b: p.bind(c), output: p.bind(y), transposeA: transposeA, transposeB: transposeB,
              bias: vector.map { p.bind($0) }, accumulate: accumulate)))
      }
    }
  }

  /// A linear layer on pooled images of one pixel, forward and back.
  private static let linearOfImage = OperatorCase("matrixProduct/linear layer on images of one pixel") { b in
    let (n, features, classes) = (6, 24, 10)
    let (x, w, bias) = (
      b.image(Shape(n, features)), b.matrix(classes, features, "weight"), b.vector(classes, "bias")
    )
    let (y, dy) = (b.output(Shape(n, classes)), b.image(Shape(n, classes), "dy"))
    let (dx, dw) = (
      b.output(Shape(n, features), "dx"), b.output(Shape(classes, features), "dw", role: .plain)
    )
    b.run { p in
      let (x, w, dy) = (p.bind(x), p.bind(w), p.bind(dy))
      p.append(
        .matrixProduct(MatrixProduct(a: x, b: w, output: p.bind(y), transposeB: true, bias: p.bind(bias))))
      p.append(.matrixProduct(MatrixProduct(a: dy, b: w, output: p.bind(dx))))
      p.append(.matrixProduct(MatrixProduct(a: dy, b: x, output: p.bind(dw), transposeA: true)))
    }
  }
}
