import CKernels
import Foundation

extension CPUCompiler {
  private func poolShape(_ input: Shape, _ output: Shape, _ geometry: PoolGeometry) -> pbe_pool_shape {
    pbe_pool_shape(
      height: input.h, width: input.w, channels: input.c, output_height: output.h, output_width: output.w,
      kernel_height: geometry.kernelHeight, kernel_width: geometry.kernelWidth, stride: geometry.stride,
      padding: geometry.padding, average: geometry.kind == .average ? 1 : 0)
  }

  func pool(_ d: Pool) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let (input, output) = (shape(d.input), shape(d.output))
    let pool = poolShape(input, output, d.geometry)
    return { _ in
      Parallel.blocks(input.n) { _, image in
        withUnsafePointer(to: pool) {
          pbe_pool(x + image * (input.count / input.n), $0, y + image * (output.count / input.n))
        }
      }
    }
  }

  func poolGradient(_ d: PoolGradient) throws -> Step {
    try d.checkInput()
    let (dy, dx, x) = (try floats(d.outputGradient), try floats(d.inputGradient), try floats(d.input))
    let (input, output) = (shape(d.inputGradient), shape(d.outputGradient))
    let pool = poolShape(input, output, d.geometry)
    let size = input.count / input.n
    return { _ in
      Parallel.blocks(input.n) { _, image in
        let to = dx + image * size
        if !d.accumulate { to.update(repeating: 0, count: size) }
        withUnsafePointer(to: pool) {
          pbe_pool_gradient(dy + image * (output.count / input.n), x.map { $0 + image * size }, $0, to)
        }
      }
    }
  }

  func resize(_ d: Resize) throws -> Step {
    let (x, y) = (try floats(d.input), try floats(d.output))
    let (input, output) = (shape(d.input), shape(d.output))
    return { _ in
      Parallel.blocks(input.n) { _, image in
        pbe_resize(
          x + image * (input.count / input.n), input.h, input.w, input.c,
          y + image * (output.count / input.n),
          output.h, output.w, d.interpolation == .bicubic ? 1 : 0, d.alignCorners ? 1 : 0)
      }
    }
  }

  func resizeGradient(_ d: ResizeGradient) throws -> Step {
    let (dy, dx) = (try floats(d.outputGradient), try floats(d.inputGradient))
    let (input, output) = (shape(d.inputGradient), shape(d.outputGradient))
    let size = input.count / input.n
    return { _ in
      Parallel.blocks(input.n) { _, image in
        let to = dx + image * size
        to.update(repeating: 0, count: size)
        pbe_resize_gradient(
          dy + image * (output.count / input.n), input.h, input.w, input.c, to, output.h, output.w,
          d.alignCorners ? 1 : 0)
      }
    }
  }

  func gridSample(_ d: GridSample) throws -> Step {
    let (x, field, y) = (try floats(d.input), try floats(d.field), try floats(d.output))
    let flags = try d.flags.map { try integers($0) }
    let (input, output) = (shape(d.input), shape(d.output))
    try d.checkSizes(input: input, output: output)
    let fieldSize = shape(d.field).n == 1 ? 0 : shape(d.field).count / input.n
    let (from, to) = (input.count / input.n, output.count / input.n)
    return { _ in
      Parallel.blocks(input.n) { _, image in
        if let flags, flags[image] == 0 {
          (y + image * to).update(from: x + image * from, count: to)
        } else {
          pbe_grid_sample(
            x + image * from, input.h, input.w, input.c, field + image * fieldSize, y + image * to, output.h,
            output.w)
        }
      }
    }
  }

  func augment(_ d: Augment) throws -> Step {
    let (x, y, samples) = (try floats(d.input), try floats(d.output), try integers(d.samples))
    let shape = shape(d.input)
    let size = shape.count / shape.n
    return { parameters in
      let gate = Philox.words(SIMD4(parameters.step, 0, parameters.epoch, d.purpose), seed: d.seed)
      let cropped = Philox.uniform(gate[0]) < d.cropProbability
      let rotated = Philox.uniform(gate[1]) < d.rotationProbability
      Parallel.ranges(shape.n, grain: 4) { range in
        for image in range {
          let sample = UInt32(bitPattern: samples[image])
          let a = Philox.words(SIMD4(0, sample, parameters.epoch, d.purpose &+ 1), seed: d.seed)
          let b = Philox.words(SIMD4(1, sample, parameters.epoch, d.purpose &+ 1), seed: d.seed)
          func shift(_ word: UInt32) -> Int32 {
            cropped ? Int32(Philox.uniform(word) * Float(2 * d.padding + 1)) - Int32(d.padding) : 0
          }
          let rotate = rotated && Philox.uniform(b[0]) < d.sampleRotationProbability
          let angle = d.degrees * (2 * Philox.uniform(a[3]) - 1) * (Float.pi / 180)
          var draw = pbe_augmentation(
            shift_y: shift(a[0]), shift_x: shift(a[1]),
            flip: Philox.uniform(a[2]) < d.flipProbability ? 1 : 0,
            rotate: rotate ? 1 : 0, cosine: cos(angle), sine: sin(angle))
          pbe_augment(x + image * size, &draw, shape.h, shape.w, shape.c, y + image * size)
        }
      }
    }
  }
}
