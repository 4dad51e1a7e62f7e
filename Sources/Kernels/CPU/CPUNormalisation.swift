import CKernels

/// Splits an image's pixels into chunks for per-channel reductions. The chunks depend on the shape alone, and are
/// added up in order: the sums are the same on any number of threads.
struct ChannelChunks {
  let rows: Int, channels: Int, rowsPerChunk: Int, count: Int
  private let scratch: CPUScratch

  init(rows: Int, channels: Int, scratch: CPUScratch) {
    self.rows = rows
    self.channels = channels
    self.scratch = scratch
    // Enough chunks for the cores, each long enough for its sums to cost little.
    rowsPerChunk = max(64, 65536 / max(1, channels))
    count = (rows + rowsPerChunk - 1) / rowsPerChunk
    scratch.reserve(floats: count * channels * 4 + Parallel.threads * channels * 2)
  }

  /// The chunk's first vector of sums.
  func first(_ chunk: Int) -> UnsafeMutablePointer<Double> {
    UnsafeMutableRawPointer(scratch.floats).assumingMemoryBound(to: Double.self) + chunk * channels * 2
  }

  /// The chunk's second vector of sums.
  func second(_ chunk: Int) -> UnsafeMutablePointer<Double> { first(chunk) + channels }

  /// How many rows a chunk has.
  func rowCount(_ chunk: Int) -> Int { min(rows, (chunk + 1) * rowsPerChunk) - chunk * rowsPerChunk }

  /// Calls `body` for each chunk with its rows, its two vectors of sums and 2 * channels floats of scratch.
  func forEach(
    _ body: (
      Range<Int>, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Float>
    ) -> Void
  ) {
    let workspace = scratch.floats + count * channels * 4
    Parallel.blocks(count) { thread, chunk in
      let begin = chunk * rowsPerChunk
      body(
        begin..<begin + rowCount(chunk), first(chunk), second(chunk), workspace + thread * channels * 2)
    }
  }
}

extension CPUCompiler {
  func batchNormStatistics(_ d: BatchNormStatistics) throws -> Step {
    let x = try floats(d.input)
    let (gamma, beta) = (try floats(d.gamma), try floats(d.beta))
    let (runningMean, runningVariance) = (try floats(d.runningMean), try floats(d.runningVariance))
    let (mean, inverse) = (try floats(d.mean), try floats(d.inverseDeviation))
    let (scale, shift) = (try floats(d.affine.scale), try floats(d.affine.shift))
    let channels = shape(d.input).c
    let chunks = ChannelChunks(rows: shape(d.input).pixels, channels: channels, scratch: scratch)
    let count = Double(chunks.rows)
    return { _ in
      chunks.forEach { rows, sums, squares, scratch in
        pbe_channel_moments(x + rows.lowerBound * channels, rows.count, channels, sums, squares, scratch)
      }
      for c in 0..<channels {
        var total = 0.0
        for chunk in 0..<chunks.count { total += chunks.first(chunk)[c] }
        let average = total / count
        // Chan, Golub and LeVeque's merge: squares within the chunks, and of the chunks' means.
        var squares = 0.0
        for chunk in 0..<chunks.count {
          let size = Double(chunks.rowCount(chunk))
          let apart = chunks.first(chunk)[c] / size - average
          squares += chunks.second(chunk)[c] + size * apart * apart
        }
        let variance = squares / count
        let deviation = 1 / (variance + Double(d.epsilon)).squareRoot()
        mean[c] = Float(average)
        inverse[c] = Float(deviation)
        scale[c] = Float(Double(gamma[c]) * deviation)
        shift[c] = Float(Double(beta[c]) - average * Double(gamma[c]) * deviation)
        let unbiased = count > 1 ? squares / (count - 1) : variance
        // Not even a mean that has overflowed may change what is to stay.
        if d.momentum == 0 { continue }
        runningMean[c] += d.momentum * (Float(average) - runningMean[c])
        runningVariance[c] += d.momentum * (Float(unbiased) - runningVariance[c])
      }
    }
  }

  func batchNormFold(_ d: BatchNormFold) throws -> Step {
    let (gamma, beta) = (try floats(d.gamma), try floats(d.beta))
    let (mean, variance) = (try floats(d.runningMean), try floats(d.runningVariance))
    let (scale, shift) = (try floats(d.affine.scale), try floats(d.affine.shift))
    let inverse = try floats(d.inverseDeviation)
    let channels = shape(d.gamma).count
    return { _ in
      for c in 0..<channels {
        let deviation = 1 / (variance[c] + d.epsilon).squareRoot()
        inverse?[c] = deviation
        scale[c] = gamma[c] * deviation
        shift[c] = beta[c] - mean[c] * gamma[c] * deviation
      }
    }
  }

  func affineActivation(_ d: AffineActivation) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let (scale, shift) = (try floats(d.affine?.scale), try floats(d.affine?.shift))
    let (rows, channels) = (shape(d.input).pixels, shape(d.input).c)
    let (kind, parameter) = (d.activation.code, d.activation.parameter)
    return { _ in
      Parallel.ranges(rows, grain: 32768 / channels) { range in
        let at = range.lowerBound * channels
        pbe_affine_activation(x + at, scale, shift, kind, parameter, y + at, range.count, channels)
      }
    }
  }

  func affineActivationGradient(_ d: AffineActivationGradient) throws -> Step {
    let (dy, x, dx) = (try floats(d.outputGradient), try floats(d.input), try floats(d.inputGradient))
    let (scale, shift) = (try floats(d.affine?.scale), try floats(d.affine?.shift))
    let (rows, channels) = (shape(d.input).pixels, shape(d.input).c)
    let (kind, parameter, accumulate) = (
      d.activation.code, d.activation.parameter, Int32(d.accumulate ? 1 : 0)
    )
    return { _ in
      Parallel.ranges(rows, grain: 32768 / channels) { range in
        let at = range.lowerBound * channels
        pbe_affine_activation_gradient(
          dy + at, x + at, scale, shift, kind, parameter, dx + at, accumulate, range.count, channels)
      }
    }
  }

  func batchNormParameterGradient(_ d: BatchNormParameterGradient) throws -> Step {
    let (dy, x) = (try floats(d.outputGradient), try floats(d.input))
    let (scale, shift) = (try floats(d.affine.scale), try floats(d.affine.shift))
    let (mean, inverse) = (try floats(d.mean), try floats(d.inverseDeviation))
    let (gammaGradient, betaGradient) = (try floats(d.gammaGradient), try floats(d.betaGradient))
    let (kind, parameter) = (d.activation.code, d.activation.parameter)
    let channels = shape(d.input).c
    let chunks = ChannelChunks(rows: shape(d.input).pixels, channels: channels, scratch: scratch)
    return { _ in
      chunks.forEach { rows, first, second, _ in
        let at = rows.lowerBound * channels
        pbe_batch_norm_sums(
          dy + at, x + at, scale, shift, mean, inverse, kind, parameter, rows.count, channels, first, second)
      }
      for c in 0..<channels {
        var (beta, gamma) = (0.0, 0.0)
        for chunk in 0..<chunks.count {
          beta += chunks.first(chunk)[c]
          gamma += chunks.second(chunk)[c]
        }
        betaGradient[c] = Float(beta)
        gammaGradient[c] = Float(gamma)
      }
    }
  }

  func batchNormInputGradient(_ d: BatchNormInputGradient) throws -> Step {
    let (dy, x, dx) = (try floats(d.outputGradient), try floats(d.input), try floats(d.inputGradient))
    let (scale, shift) = (try floats(d.affine.scale), try floats(d.affine.shift))
    let (mean, inverse) = (try floats(d.mean), try floats(d.inverseDeviation))
    let (gammaGradient, betaGradient) = (try floats(d.gammaGradient), try floats(d.betaGradient))
    let (rows, channels) = (shape(d.input).pixels, shape(d.input).c)
    let (kind, parameter, accumulate) = (
      d.activation.code, d.activation.parameter, Int32(d.accumulate ? 1 : 0)
    )
    scratch.reserve(floats: 2 * channels)
    let scratch = scratch
    return { _ in
      let (meanBeta, meanGamma) = (scratch.floats, scratch.floats + channels)
      for c in 0..<channels {
        meanBeta[c] = betaGradient[c] / Float(rows)
        meanGamma[c] = gammaGradient[c] / Float(rows)
      }
      Parallel.ranges(rows, grain: 32768 / channels) { range in
        let at = range.lowerBound * channels
        pbe_batch_norm_input_gradient(
          dy + at, x + at, scale, shift, mean, inverse, meanBeta, meanGamma, kind, parameter, dx + at,
          accumulate,
          range.count, channels)
      }
    }
  }
}
