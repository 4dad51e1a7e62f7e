import CKernels
import COpenBLAS

extension CPUCompiler {
  func add(_ d: Add) throws -> Step {
    let (a, b, y) = (try floats(d.a), try floats(d.b), try floats(d.output))
    let count = shape(d.output).count
    return { _ in
      Parallel.ranges(count, grain: 32768) {
        pbe_add(a + $0.lowerBound, b + $0.lowerBound, y + $0.lowerBound, $0.count)
      }
    }
  }

  func multiply(_ d: Multiply) throws -> Step {
    let (a, b, y) = (try floats(d.a), try floats(d.b), try floats(d.output))
    let count = shape(d.output).count
    return { _ in
      Parallel.ranges(count, grain: 32768) {
        pbe_multiply(a + $0.lowerBound, b + $0.lowerBound, y + $0.lowerBound, $0.count)
      }
    }
  }

  func dropout(_ d: Dropout) throws -> Step {
    let (x, y, samples) = (try floats(d.input), try floats(d.output), try integers(d.samples))
    let shape = shape(d.input)
    let (pixels, size) = (shape.h * shape.w, shape.count / shape.n)
    return { parameters in
      Parallel.blocks(shape.n) { _, image in
        pbe_dropout(
          x + image * size, y + image * size, d.rate, UInt32(bitPattern: samples[image]), parameters.epoch,
          d.purpose, d.seed, pixels, shape.c)
      }
    }
  }

  func randomUniform(_ d: RandomUniform) throws -> Step {
    let (y, samples) = (try floats(d.output), try integers(d.samples))
    let shape = shape(d.output)
    let (pixels, size) = (shape.h * shape.w, shape.count / shape.n)
    return { parameters in
      Parallel.blocks(shape.n) { _, image in
        pbe_random_uniform(
          y + image * size, d.low, d.high, UInt32(bitPattern: samples[image]), parameters.epoch, d.purpose,
          d.seed, pixels, shape.c)
      }
    }
  }

  func fill(_ d: Fill) throws -> Step {
    let count = shape(d.output).count
    switch program[d.output].type {
    case .float32:
      let y = try floats(d.output)
      return { _ in y.update(repeating: d.value, count: count) }
    case .int32:
      let y = try integers(d.output)
      return { _ in y.update(repeating: Int32(d.value), count: count) }
    case .uint8:
      let y = try pointer(d.output).assumingMemoryBound(to: UInt8.self)
      return { _ in y.update(repeating: UInt8(d.value), count: count) }
    }
  }

  func copy(_ d: Copy) throws -> Step {
    let (x, y) = (try pointer(d.input), try pointer(d.output))
    let bytes = program[d.output].byteCount
    return { _ in
      Parallel.ranges(bytes, grain: 1 << 18) {
        (y + $0.lowerBound).copyMemory(from: x + $0.lowerBound, byteCount: $0.count)
      }
    }
  }

  func pgdStep(_ d: PGDStep) throws -> Step {
    let (z, origin, gradient) = (try floats(d.adversarial), try floats(d.origin), try floats(d.gradient))
    let shape = shape(d.adversarial)
    let clip: Int32 = d.clip ? 1 : 0
    switch d.norm {
    case .infinity:
      return { _ in
        Parallel.ranges(shape.count, grain: 32768) {
          pbe_pgd_step(
            z + $0.lowerBound, origin + $0.lowerBound, gradient + $0.lowerBound, d.stepSize, d.epsilon, clip,
            $0.count)
        }
      }
    case .two:
      let size = shape.count / shape.n
      return { _ in
        Parallel.blocks(shape.n) { _, sample in
          let first = sample * size
          pbe_pgd_step_l2(z + first, origin + first, gradient + first, d.stepSize, d.epsilon, clip, size)
        }
      }
    }
  }

  func sgd(_ d: SGD) throws -> Step {
    let (p, g, v) = (try floats(d.parameters), try floats(d.gradients), try floats(d.velocity))
    let count = shape(d.parameters).count
    return { parameters in
      Parallel.ranges(count, grain: 32768) {
        pbe_sgd(
          p + $0.lowerBound, g + $0.lowerBound, v + $0.lowerBound, parameters.learningRate, d.momentum,
          d.weightDecay, d.nesterov ? 1 : 0, $0.count)
      }
    }
  }

  func adam(_ d: Adam) throws -> Step {
    let (p, g) = (try floats(d.parameters), try floats(d.gradients))
    let (m, v) = (try floats(d.firstMoment), try floats(d.secondMoment))
    let count = shape(d.parameters).count
    return { parameters in
      Parallel.ranges(count, grain: 32768) {
        pbe_adam(
          p + $0.lowerBound, g + $0.lowerBound, m + $0.lowerBound, v + $0.lowerBound, parameters.learningRate,
          d.beta1, d.beta2, d.epsilon, d.weightDecay, parameters.step, $0.count)
      }
    }
  }

  func perturbWeights(_ d: PerturbWeights) throws -> Step {
    let (p, g, saved) = (try floats(d.parameters), try floats(d.gradients), try floats(d.saved))
    let count = shape(d.parameters).count
    let length = gradientLength(g, count, scaledBy: d.adaptive ? UnsafePointer(p) : nil)
    let adaptive = Int32(d.adaptive ? 1 : 0)
    return { _ in
      let scale = Float(Double(d.radius) / (length() + 1e-12))
      Parallel.ranges(count, grain: 32768) {
        pbe_perturb_weights(
          p + $0.lowerBound, g + $0.lowerBound, saved + $0.lowerBound, scale, adaptive, $0.count)
      }
    }
  }

  func clipGradients(_ d: ClipGradients) throws -> Step {
    let g = try floats(d.gradients)
    let count = shape(d.gradients).count
    let length = gradientLength(g, count)
    return { _ in
      let length = length()
      let scale = Float(Double(d.length) / length)
      // Nothing makes infinite gradients shorter: left as they are they show that the training diverged.
      guard length.isFinite, scale < 1 else { return }
      Parallel.ranges(count, grain: 32768) { cblas_sscal(Int32($0.count), scale, g + $0.lowerBound, 1) }
    }
  }

  /// The norm of gradients, each multiplied by its parameter if wanted. The chunks of it depend on the shape alone, and are
  /// added up in order.
  private func gradientLength(
    _ g: UnsafePointer<Float>, _ count: Int, scaledBy p: UnsafePointer<Float>? = nil
  ) -> () -> Double {
    let grain = 32768
    let chunks = (count + grain - 1) / grain
    scratch.reserve(floats: 2 * chunks)
    let scratch = scratch
    return {
      let squares = UnsafeMutableRawPointer(scratch.floats).assumingMemoryBound(to: Double.self)
      Parallel.blocks(chunks) { _, chunk in
        let first = chunk * grain
        squares[chunk] = pbe_gradient_squares(p.map { $0 + first }, g + first, min(grain, count - first))
      }
      return (0..<chunks).reduce(0) { $0 + squares[$1] }.squareRoot()
    }
  }
}
