import CKernels

/// The plan of one 3x3 convolution by Winograd's F(4x4, 3x3).
struct Winograd {
  let tileRows: Int, tileColumns: Int, tiles: Int
  let height: Int, width: Int, inputs: Int, outputs: Int

  /// `nil` where the algorithm doesn't apply.
  init?(_ geometry: ConvolutionGeometry, input: Shape, outputs: Int) {
    guard
      geometry
        == ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, stride: 1, padding: 1, dilation: 1, groups: 1),
      input.c % 16 == 0, outputs % 16 == 0, input.h > 1, input.w > 1
    else { return nil }
    height = input.h
    width = input.w
    inputs = input.c
    self.outputs = outputs
    tileRows = (input.h + 3) / 4
    tileColumns = (input.w + 3) / 4
    tiles = input.n * tileRows * tileColumns
  }

  /// The elements of the transformed filter.
  var filterCount: Int { 36 * inputs * outputs }

  /// Large filters are read once per group of tiles by all cores together; with small ones each core works through
  /// blocks of its own, that stay in its cache.
  var sharesFilter: Bool { inputs * outputs >= 128 * 128 }

  /// Floats from one of the 36 matrices to the next. The pad keeps them out of each other's cache sets.
  func stride(tiles: Int, channels: Int) -> Int { tiles * channels + 80 }

  /// How many tiles make `budget` bytes of both transformed images.
  func tiles(budget: Int, least: Int) -> Int {
    min(tiles, max(least, budget / (36 * 4 * (inputs + outputs))))
  }

  /// One side's geometry for the C kernels.
  func side(channels: Int, stride: Int) -> pbe_winograd_shape {
    pbe_winograd_shape(
      height: height, width: width, channels: channels, tile_rows: tileRows, tile_columns: tileColumns,
      stride: stride)
  }
}

extension CPUCompiler {
  func winogradConvolution(_ d: Convolution, _ winograd: Winograd) throws -> Step {
    try winogradConvolution(
      winograd, x: try floats(d.input), filter: try floats(d.filter), y: try floats(d.output),
      prologue: try bind(d.prologue), bias: try floats(d.bias), residual: try floats(d.residual))
  }

  /// The input gradient is the convolution of the output gradient with the turned and transposed filter.
  func winogradInputGradient(_ d: ConvolutionInputGradient, _ winograd: Winograd) throws -> Step {
    try winogradConvolution(
      winograd, x: try floats(d.outputGradient), filter: try floats(d.filter), y: try floats(d.inputGradient),
      prologue: try bind(nil), bias: nil, residual: nil, transposed: true, accumulate: d.accumulate)
  }

  private func winogradConvolution(
    _ winograd: Winograd, x: UnsafePointer<Float>, filter: UnsafePointer<Float>,
    y: UnsafeMutablePointer<Float>,
    prologue: pbe_prologue, bias: UnsafePointer<Float>?, residual: UnsafePointer<Float>?,
    transposed: Bool = false,
    accumulate: Bool = false
  ) throws -> Step {
    let (inputs, outputs) =
      transposed ? (winograd.outputs, winograd.inputs) : (winograd.inputs, winograd.outputs)
    let shared = winograd.sharesFilter
    let group =
      shared ? winograd.tiles(budget: 20 << 20, least: 64) : winograd.tiles(budget: 600 << 10, least: 32)
    let inputStride = winograd.stride(tiles: group, channels: inputs)
    let outputStride = winograd.stride(tiles: group, channels: outputs)
    let source = winograd.side(channels: inputs, stride: inputStride)
    let target = winograd.side(channels: outputs, stride: outputStride)
    let perGroup = 36 * (inputStride + outputStride)
    scratch.reserve(floats: winograd.filterCount + (shared ? 1 : Parallel.threads) * perGroup)
    let groups = (winograd.tiles + group - 1) / group
    let scratch = scratch

    func products(_ tiles: Int, _ xi: Int, _ u: UnsafePointer<Float>, _ v: UnsafeMutablePointer<Float>) {
      product(
        tiles, outputs, inputs, v + xi * inputStride, inputs, u + xi * inputs * outputs, outputs,
        v + 36 * inputStride + xi * outputStride, outputs)
    }
    func transform(_ tiles: Range<Int>, from first: Int, _ v: UnsafeMutablePointer<Float>) {
      withUnsafePointer(to: source) { source in
        withUnsafePointer(to: prologue) {
          pbe_winograd_input(
            x, source, $0, v + (tiles.lowerBound - first) * inputs, tiles.lowerBound, tiles.upperBound)
        }
      }
    }
    func finish(_ tiles: Range<Int>, from first: Int, _ v: UnsafeMutablePointer<Float>) {
      withUnsafePointer(to: target) {
        pbe_winograd_output(
          v + 36 * inputStride + (tiles.lowerBound - first) * outputs, $0, bias, residual, accumulate ? 1 : 0,
          y,
          tiles.lowerBound, tiles.upperBound)
      }
    }

    return { _ in
      let u = scratch.floats
      Parallel.ranges(winograd.inputs, grain: 16) {
        pbe_winograd_filter(
          filter, u, winograd.inputs, winograd.outputs, transposed ? 1 : 0, $0.lowerBound, $0.upperBound)
      }
      if shared {
        let v = u + winograd.filterCount
        for block in 0..<groups {
          let first = block * group
          let count = min(winograd.tiles, first + group) - first
          Parallel.ranges(count, grain: 16) {
            transform(first + $0.lowerBound..<first + $0.upperBound, from: first, v)
          }
          Parallel.blocks(36) { _, xi in products(count, xi, u, v) }
          Parallel.ranges(count, grain: 16) {
            finish(first + $0.lowerBound..<first + $0.upperBound, from: first, v)
          }
        }
      } else {
        Parallel.blocks(groups) { thread, block in
          let v = u + winograd.filterCount + thread * perGroup
          let tiles = block * group..<min(winograd.tiles, (block + 1) * group)
          transform(tiles, from: tiles.lowerBound, v)
          for xi in 0..<36 { products(tiles.count, xi, u, v) }
          finish(tiles, from: tiles.lowerBound, v)
        }
      }
    }
  }

  func winogradFilterGradient(_ d: ConvolutionFilterGradient, _ winograd: Winograd) throws -> Step {
    let (x, dy, gradient) = (try floats(d.input), try floats(d.outputGradient), try floats(d.filterGradient))
    let prologue = try bind(d.prologue)
    let (inputs, outputs) = (winograd.inputs, winograd.outputs)
    let group = winograd.tiles(budget: 8 << 20, least: 64)
    let inputStride = winograd.stride(tiles: group, channels: inputs)
    let outputStride = winograd.stride(tiles: group, channels: outputs)
    let source = winograd.side(channels: inputs, stride: inputStride)
    let target = winograd.side(channels: outputs, stride: outputStride)
    scratch.reserve(floats: winograd.filterCount + 36 * (inputStride + outputStride))
    let groups = (winograd.tiles + group - 1) / group
    let scratch = scratch
    return { _ in
      let sums = scratch.floats
      let v = sums + winograd.filterCount
      let z = v + 36 * inputStride
      for block in 0..<groups {
        let first = block * group
        let count = min(winograd.tiles, first + group) - first
        Parallel.ranges(count, grain: 16) { range in
          withUnsafePointer(to: source) { source in
            withUnsafePointer(to: prologue) {
              pbe_winograd_input(
                x, source, $0, v + range.lowerBound * inputs, first + range.lowerBound,
                first + range.upperBound)
            }
          }
          withUnsafePointer(to: target) {
            pbe_winograd_output_gradient(
              dy, $0, z + range.lowerBound * outputs, first + range.lowerBound, first + range.upperBound)
          }
        }
        Parallel.blocks(36) { _, xi in
          product(
            inputs, outputs, count, v + xi * inputStride, inputs, z + xi * outputStride, outputs,
            sums + xi * inputs * outputs, outputs, transposeA: true, beta: block == 0 ? 0 : 1)
        }
      }
      Parallel.ranges(inputs, grain: 16) {
        pbe_winograd_filter_gradient(sums, gradient, inputs, outputs, $0.lowerBound, $0.upperBound)
      }
    }
  }
}
