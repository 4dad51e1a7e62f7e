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

  /// How many tiles, in whole rows, make `budget` bytes of both transformed images.
  func tiles(budget: Int, least: Int) -> Int {
    let wanted = max(least, budget / (36 * 4 * (inputs + outputs)))
    return min(tiles, max(1, wanted / tileColumns) * tileColumns)
  }

  /// Parts of a group of tiles, in whole rows, for the cores to share.
  func parts(of tiles: Range<Int>, _ body: (Range<Int>) -> Void) {
    let rows = max(1, 16 / tileColumns) * tileColumns
    Parallel.ranges(tiles.count, grain: rows) {
      body(tiles.lowerBound + $0.lowerBound..<tiles.lowerBound + $0.upperBound)
    }
  }

  /// The geometry of one side of `tiles`, for the C kernels.
  func side(_ tiles: Range<Int>, channels: Int, stride: Int) -> pbe_winograd_shape {
    pbe_winograd_shape(
      height: height, width: width, channels: channels, tile_rows: tileRows, tile_columns: tileColumns,
      first: tiles.lowerBound, tiles: tiles.count, stride: stride)
  }
}

extension CPUCompiler {
  /// Larger results go around the cache: they would be evicted before they are read.
  static let streamedBytes = 6 << 20

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
      shared ? winograd.tiles(budget: max(16 << 20, 4 * winograd.filterCount), least: 64) : winograd.tiles(budget: 600 << 10, least: 32)
    let inputStride = winograd.stride(tiles: group, channels: inputs)
    let outputStride = winograd.stride(tiles: group, channels: outputs)
    let perGroup = 36 * (inputStride + outputStride)
    scratch.reserve(floats: winograd.filterCount + (shared ? 1 : Parallel.threads) * perGroup)
    let groups = (winograd.tiles + group - 1) / group
    let scratch = scratch
    let pixels =
      winograd.height * winograd.width * winograd.tiles / (winograd.tileRows * winograd.tileColumns)
    let streams: Int32 = 4 * pixels * outputs > Self.streamedBytes ? 1 : 0

    // The three phases of a group of tiles, each for a part of it.
    func transform(_ part: Range<Int>, of group: Range<Int>, _ v: UnsafeMutablePointer<Float>) {
      var source = winograd.side(group, channels: inputs, stride: inputStride)
      withUnsafePointer(to: prologue) {
        pbe_winograd_input(x, &source, $0, v, part.lowerBound, part.upperBound)
      }
    }
    func multiply(
      _ xi: Int, of group: Range<Int>, _ u: UnsafePointer<Float>, _ v: UnsafeMutablePointer<Float>
    ) {
      pbe_panel_product(
        v + xi * inputStride, u + xi * inputs * outputs, v + 36 * inputStride + xi * outputStride,
        group.count,
        inputs, outputs)
    }
    func finish(_ part: Range<Int>, of group: Range<Int>, _ v: UnsafeMutablePointer<Float>) {
      var target = winograd.side(group, channels: outputs, stride: outputStride)
      pbe_winograd_output(
        v + 36 * inputStride, &target, bias, accumulate ? UnsafePointer(y) : residual, streams, y,
        part.lowerBound,
        part.upperBound)
    }

    return { _ in
      let u = scratch.floats
      Parallel.ranges(outputs / 16, grain: 1) {
        pbe_winograd_filter(
          filter, u, winograd.inputs, winograd.outputs, transposed ? 1 : 0,
          4 * winograd.filterCount > Self.streamedBytes ? 1 : 0, $0.lowerBound, $0.upperBound)
      }
      if shared {
        let v = u + winograd.filterCount
        for block in 0..<groups {
          let tiles = block * group..<min(winograd.tiles, (block + 1) * group)
          winograd.parts(of: tiles) { transform($0, of: tiles, v) }
          Parallel.blocks(36) { _, xi in multiply(xi, of: tiles, u, v) }
          winograd.parts(of: tiles) { finish($0, of: tiles, v) }
        }
      } else {
        Parallel.blocks(groups) { thread, block in
          let v = u + winograd.filterCount + thread * perGroup
          let tiles = block * group..<min(winograd.tiles, (block + 1) * group)
          transform(tiles, of: tiles, v)
          for xi in 0..<36 { multiply(xi, of: tiles, u, v) }
          finish(tiles, of: tiles, v)
        }
      }
    }
  }
}
