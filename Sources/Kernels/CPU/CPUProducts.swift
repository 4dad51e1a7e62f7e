import CKernels
import COpenBLAS

/// A row-major matrix product on one thread: `c = op(a) * op(b) + beta * c`, leading dimensions in floats.
func product(
  _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int,
  _ c: UnsafeMutablePointer<Float>, _ ldc: Int, transposeA: Bool = false, transposeB: Bool = false,
  beta: Float = 0
) {
  cblas_sgemm(
    CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
    Int32(m), Int32(n), Int32(k), 1, a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
}

extension CPUCompiler {
  func matrixProduct(_ d: MatrixProduct) throws -> Step {
    let (a, b, c) = (try floats(d.a), try floats(d.b), try floats(d.output))
    let bias = try floats(d.bias)
    let (m, n) = (shape(d.output).n, shape(d.output).c)
    let k = d.transposeA ? shape(d.a).n : shape(d.a).c
    let (lda, ldb) = (shape(d.a).c, shape(d.b).c)
    let beta: Float = d.accumulate ? 1 : 0
    return { _ in
      Parallel.ranges(m, grain: max(16, 1 << 20 / max(1, n * k))) { rows in
        let to = c + rows.lowerBound * n
        product(
          rows.count, n, k, d.transposeA ? a + rows.lowerBound : a + rows.lowerBound * lda, lda, b, ldb, to,
          n,
          transposeA: d.transposeA, transposeB: d.transposeB, beta: beta)
        if let bias { pbe_add_bias(to, bias, rows.count, n) }
      }
    }
  }

  func channelSum(_ d: ChannelSum) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let channels = shape(d.input).c
    let chunks = ChannelChunks(rows: shape(d.input).pixels, channels: channels, scratch: scratch)
    return { _ in
      chunks.forEach { rows, sums, squares, scratch in
        pbe_channel_moments(x + rows.lowerBound * channels, rows.count, channels, sums, squares, scratch)
      }
      for c in 0..<channels {
        var total = 0.0
        for chunk in 0..<chunks.count { total += chunks.first(chunk)[c] }
        y[c] = Float(total)
      }
    }
  }
}
