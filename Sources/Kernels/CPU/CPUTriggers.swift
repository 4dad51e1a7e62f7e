import CKernels

extension CPUCompiler {
  /// The pattern that a sample with the given flag takes, of `patterns`.
  private static func pattern(of sample: Int, flag: Int32?, patterns: Int) -> Int {
    let shifted = (sample - Int(flag ?? 1) + 1) % patterns
    return shifted < 0 ? shifted + patterns : shifted
  }

  func applyTrigger(_ d: ApplyTrigger) throws -> Step {
    let (x, pattern, mask, y) = (
      try floats(d.input), try floats(d.pattern), try floats(d.mask), try floats(d.output)
    )
    let flags = try d.flags.map { try integers($0) }
    let shape = shape(d.input)
    let (patterns, maskChannels) = (self.shape(d.pattern).n, self.shape(d.mask).c)
    let pixels = shape.h * shape.w
    let (size, maskSize) = (pixels * shape.c, pixels * maskChannels)
    return { _ in
      Parallel.ranges(shape.n, grain: 8) { range in
        for image in range {
          let at = image * size
          if let flags, flags[image] == 0 {
            if x != y { (y + at).update(from: x + at, count: size) }
          } else {
            let which = Self.pattern(of: image, flag: flags?[image], patterns: patterns)
            pbe_apply_trigger(
              x + at, pattern + which * size, mask + which * maskSize, y + at, d.kind == .additive ? 1 : 0,
              d.clip ? 1 : 0, pixels, shape.c, maskChannels)
          }
        }
      }
    }
  }

  func applyTriggerGradient(_ d: ApplyTriggerGradient) throws -> Step {
    let (dy, mask, dp) = (
      try floats(d.outputGradient), try floats(d.mask), try floats(d.patternGradient)
    )
    let flags = try d.flags.map { try integers($0) }
    let (shape, samples) = (shape(d.patternGradient), shape(d.outputGradient).n)
    let maskChannels = self.shape(d.mask).c
    let pixels = shape.h * shape.w
    let (size, maskSize) = (pixels * shape.c, pixels * maskChannels)
    return { _ in
      Parallel.blocks(shape.n) { _, which in
        var accumulates = d.accumulate
        for sample in 0..<samples
        where flags?[sample] != 0
          && Self.pattern(of: sample, flag: flags?[sample], patterns: shape.n) == which
        {
          pbe_apply_trigger_gradient(
            dy + sample * size, mask + which * maskSize, dp + which * size, accumulates ? 1 : 0, pixels,
            shape.c, maskChannels)
          accumulates = true
        }
        if !accumulates { (dp + which * size).update(repeating: 0, count: size) }
      }
    }
  }

  func neighbourDistance(_ d: NeighbourDistance) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let shape = shape(d.input)
    let size = shape.count / shape.n
    return { _ in
      Parallel.ranges(shape.n, grain: 8) { range in
        for sample in range {
          y[sample] = pbe_rms_distance(x + sample * size, x + (sample + 1) % shape.n * size, size)
        }
      }
    }
  }

  func diversityLoss(_ d: DiversityLoss) throws -> Step {
    let (inputs, outputs) = (try floats(d.inputDistances), try floats(d.outputDistances))
    let (y, total, dy) = (try floats(d.outputs), try floats(d.total), try floats(d.outputsGradient))
    let shape = shape(d.outputs)
    let size = shape.count / shape.n
    let scale = d.gradientScale / Float(shape.n) / Float(size)
    /// The gradient of a pair's term by its distance, over the distance.
    func slope(_ pair: Int) -> Float {
      let padded = outputs[pair] + 1e-7
      return outputs[pair] > 0 ? -scale * inputs[pair] / (padded * padded * outputs[pair]) : 0
    }
    return { _ in
      let sum = (0..<shape.n).reduce(0.0) { $0 + Double(inputs[$1] / (outputs[$1] + 1e-7)) }
      total[0] += Float(sum / Double(shape.n))
      Parallel.ranges(shape.n, grain: 8) { range in
        for sample in range {
          let (next, previous) = ((sample + 1) % shape.n, (sample + shape.n - 1) % shape.n)
          pbe_diversity_gradient(
            y + sample * size, y + next * size, y + previous * size, slope(sample), slope(previous),
            dy + sample * size, size)
        }
      }
    }
  }
}
