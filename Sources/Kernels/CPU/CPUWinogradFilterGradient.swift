import CKernels

/// The filter gradient by Winograd's way: `G^T [ sum over tiles of (B^T x B) * (A dy A^T) ] G`. Every sum has its order
/// from the shapes alone, so the number of threads changes no bit.
extension CPUCompiler {
  func winogradFilterGradient(_ d: ConvolutionFilterGradient, _ winograd: Winograd) throws -> Step {
    let (x, dy, gradient) = (try floats(d.input), try floats(d.outputGradient), try floats(d.filterGradient))
    let prologue = try bind(d.prologue)
    let (inputs, outputs) = (winograd.inputs, winograd.outputs)
    // Small sums: each core goes through a slice of the tiles, block by block, all in its cache. Large ones: all
    // cores work on the same block, each on its own part of the sums.
    let sumBytes = 4 * winograd.filterCount
    let isSliced = sumBytes <= 600 << 10
    let block =
      isSliced
      ? winograd.tiles(budget: (800 << 10) - sumBytes, least: 16) : winograd.tiles(budget: 8 << 20, least: 64)
    let inputStride = winograd.stride(tiles: block, channels: inputs)
    let outputStride = winograd.stride(tiles: block, channels: outputs)

    func load(
      _ part: Range<Int>, of tiles: Range<Int>, _ v: UnsafeMutablePointer<Float>,
      _ z: UnsafeMutablePointer<Float>
    ) {
      var source = winograd.side(tiles, channels: inputs, stride: inputStride)
      withUnsafePointer(to: prologue) {
        pbe_winograd_input(x, &source, $0, v, part.lowerBound, part.upperBound)
      }
      var target = winograd.side(tiles, channels: outputs, stride: outputStride)
      pbe_winograd_output_gradient(dy, &target, z, part.lowerBound, part.upperBound)
    }
    func add(
      _ xi: Int, of tiles: Range<Int>, _ v: UnsafePointer<Float>, _ z: UnsafePointer<Float>,
      to sums: UnsafeMutablePointer<Float>, isFirst: Bool
    ) {
      pbe_panel_product_transposed(
        v + xi * inputStride, z + xi * outputStride, sums + xi * inputs * outputs, inputs, tiles.count,
        outputs, isFirst ? 0 : 1)
    }
    /// The blocks of a range of tiles.
    func blocks(of tiles: Range<Int>) -> [Range<Int>] {
      stride(from: tiles.lowerBound, to: tiles.upperBound, by: block).map {
        $0..<min(tiles.upperBound, $0 + block)
      }
    }
    func finish(_ sums: UnsafePointer<Float>) {
      Parallel.ranges(inputs, grain: 16) {
        pbe_winograd_filter_gradient(sums, gradient, inputs, outputs, $0.lowerBound, $0.upperBound)
      }
    }

    let perBlock = 36 * (inputStride + outputStride)
    let scratch = scratch
    guard isSliced else {
      scratch.reserve(floats: winograd.filterCount + perBlock)
      let blocks = blocks(of: 0..<winograd.tiles)
      return { _ in
        let sums = scratch.floats
        let v = sums + winograd.filterCount
        let z = v + 36 * inputStride
        for tiles in blocks {
          winograd.parts(of: tiles) { load($0, of: tiles, v, z) }
          Parallel.blocks(36) { _, xi in add(xi, of: tiles, v, z, to: sums, isFirst: tiles.lowerBound == 0) }
        }
        finish(sums)
      }
    }
    let slices = winograd.slices.map { blocks(of: $0) }
    scratch.reserve(floats: slices.count * winograd.filterCount + Parallel.threads * perBlock)
    return { _ in
      let workspace = scratch.floats + slices.count * winograd.filterCount
      Parallel.blocks(slices.count) { thread, slice in
        let sums = scratch.floats + slice * winograd.filterCount
        let v = workspace + thread * perBlock
        let z = v + 36 * inputStride
        for (index, tiles) in slices[slice].enumerated() {
          load(tiles, of: tiles, v, z)
          for xi in 0..<36 { add(xi, of: tiles, v, z, to: sums, isFirst: index == 0) }
        }
      }
      let sums = scratch.floats
      Parallel.ranges(winograd.filterCount, grain: 8192) { range in
        for slice in 1..<max(1, slices.count) {
          let other = sums + slice * winograd.filterCount + range.lowerBound
          pbe_add(sums + range.lowerBound, other, sums + range.lowerBound, range.count)
        }
      }
      finish(sums)
    }
  }
}

extension Winograd {
  /// At most 16 ranges of the tiles, in whole rows: an empty one would have no sums.
  fileprivate var slices: [Range<Int>] {
    let rows = tiles / tileColumns
    let count = max(1, min(16, rows, tiles / 128))
    return (0..<count).map { rows * $0 / count * tileColumns..<rows * ($0 + 1) / count * tileColumns }
  }
}
