import CKernels

/// Convolutions. Those of 3x3 and stride 1 over multiples of 16 channels take Winograd's way (CPUWinograd.swift), others without
/// groups are direct (CPUDirectConvolution.swift); with groups they go through patches of the image (im2col), a cache-sized
/// block at a time, as matrix products.
extension CPUCompiler {
  func convolution(_ d: Convolution) throws -> Step {
    if let winograd = Winograd(d.geometry, input: shape(d.input), outputs: shape(d.output).c) {
      return try winogradConvolution(d, winograd)
    }
    if d.geometry.groups == 1 { return try directConvolution(d) }
    let patches = Patches(d.geometry, input: shape(d.input), output: shape(d.output))
    let (x, filter, y) = (try floats(d.input), try floats(d.filter), try floats(d.output))
    let (bias, residual) = (try floats(d.bias), try floats(d.residual))
    let outputs = patches.outputs
    let blockRows = patches.blockRows
    let prologue = try bind(d.prologue)
    // A 1x1 convolution without prologue needs no patches: the image is the matrix.
    let direct = d.prologue == nil && patches.isIdentity
    scratch.reserve(floats: Parallel.threads * blockRows * patches.columns)
    let scratch = scratch
    return { _ in
      Parallel.blocks((patches.rows + blockRows - 1) / blockRows) { thread, block in
        let rows = block * blockRows..<min(patches.rows, (block + 1) * blockRows)
        let to = y + rows.lowerBound * outputs
        for group in 0..<patches.groups {
          var columns = scratch.floats + thread * blockRows * patches.columns
          if direct {
            columns = x + rows.lowerBound * patches.columns
          } else {
            patches.gather(x, prologue, group: group, rows: rows, into: columns)
          }
          let first = group * patches.groupOutputs
          product(
            rows.count, patches.groupOutputs, patches.columns, columns, patches.columns, filter + first,
            outputs,
            to + first, outputs)
        }
        if let bias { pbe_add_bias(to, bias, rows.count, outputs) }
        if let residual { pbe_add(to, residual + rows.lowerBound * outputs, to, rows.count * outputs) }
      }
    }
  }

  func convolutionInputGradient(_ d: ConvolutionInputGradient) throws -> Step {
    let input = shape(d.inputGradient)
    if let winograd = Winograd(d.geometry, input: input, outputs: shape(d.outputGradient).c) {
      return try winogradInputGradient(d, winograd)
    }
    if d.geometry.groups == 1 { return try directInputGradient(d) }
    let patches = Patches(d.geometry, input: input, output: shape(d.outputGradient))
    let (dy, filter, dx) = (try floats(d.outputGradient), try floats(d.filter), try floats(d.inputGradient))
    let outputs = patches.outputs
    let imageRows = patches.rows / input.n
    let imageCount = input.count / input.n
    let blockRows = min(imageRows, patches.blockRows)
    scratch.reserve(floats: Parallel.threads * blockRows * patches.columns)
    let scratch = scratch
    return { _ in
      // One image at a time: the patches of an image overlap, those of two images don't.
      Parallel.blocks(input.n) { thread, image in
        let columns = scratch.floats + thread * blockRows * patches.columns
        if !d.accumulate { (dx + image * imageCount).update(repeating: 0, count: imageCount) }
        for begin in stride(from: image * imageRows, to: (image + 1) * imageRows, by: blockRows) {
          let rows = begin..<min((image + 1) * imageRows, begin + blockRows)
          for group in 0..<patches.groups {
            let first = group * patches.groupOutputs
            product(
              rows.count, patches.columns, patches.groupOutputs, dy + rows.lowerBound * outputs + first,
              outputs,
              filter + first, outputs, columns, patches.columns, transposeB: true)
            patches.scatter(columns, group: group, rows: rows, into: dx)
          }
        }
      }
    }
  }

  func convolutionFilterGradient(_ d: ConvolutionFilterGradient) throws -> Step {
    if let winograd = Winograd(d.geometry, input: shape(d.input), outputs: shape(d.outputGradient).c) {
      return try winogradFilterGradient(d, winograd)
    }
    if d.geometry.groups == 1, shape(d.outputGradient).c % 16 == 0 { return try directFilterGradient(d) }
    let patches = Patches(d.geometry, input: shape(d.input), output: shape(d.outputGradient))
    let (x, dy, gradient) = (try floats(d.input), try floats(d.outputGradient), try floats(d.filterGradient))
    let prologue = try bind(d.prologue)
    let outputs = patches.outputs
    let blockRows = patches.blockRows
    let size = patches.columns * outputs
    // Each slice of the pixels has a sum of its own; added in order, and as many on any number of threads, so that
    // threads don't change the result.
    let blocks = (patches.rows + blockRows - 1) / blockRows
    let slices = max(1, min(blocks, min(16, 1 << 26 / size)))
    let sums = slices * blockRows * patches.columns
    scratch.reserve(floats: sums + slices * size)
    let scratch = scratch
    return { _ in
      Parallel.blocks(slices) { _, slice in
        let columns = scratch.floats + slice * blockRows * patches.columns
        let sum = scratch.floats + sums + slice * size
        sum.update(repeating: 0, count: size)
        for block in blocks * slice / slices..<blocks * (slice + 1) / slices {
          let rows = block * blockRows..<min(patches.rows, (block + 1) * blockRows)
          for group in 0..<patches.groups {
            patches.gather(x, prologue, group: group, rows: rows, into: columns)
            let first = group * patches.groupOutputs
            product(
              patches.columns, patches.groupOutputs, rows.count, columns, patches.columns,
              dy + rows.lowerBound * outputs + first, outputs, sum + first, outputs, transposeA: true, beta: 1
            )
          }
        }
      }
      Parallel.ranges(size, grain: 16384) { range in
        let to = gradient + range.lowerBound
        to.update(from: scratch.floats + sums + range.lowerBound, count: range.count)
        for slice in 1..<max(1, slices) {
          pbe_add(to, scratch.floats + sums + slice * size + range.lowerBound, to, range.count)
        }
      }
    }
  }
}

/// The patch matrix of a convolution: one row per output pixel of the batch, one column per element of a filter.
struct Patches {
  let rows: Int, columns: Int, outputs: Int, groups: Int
  /// Every patch is one whole pixel, in order.
  let isIdentity: Bool
  private let template: pbe_convolution_shape

  init(_ geometry: ConvolutionGeometry, input: Shape, output: Shape) {
    groups = geometry.groups
    rows = output.pixels
    outputs = output.c
    let groupChannels = input.c / groups
    columns = geometry.kernelHeight * geometry.kernelWidth * groupChannels
    isIdentity =
      geometry.kernelHeight * geometry.kernelWidth * geometry.stride == 1 && geometry.padding == 0
      && groups == 1
    template = pbe_convolution_shape(
      height: input.h, width: input.w, channels: input.c, output_height: output.h, output_width: output.w,
      kernel_height: geometry.kernelHeight, kernel_width: geometry.kernelWidth, stride: geometry.stride,
      padding: geometry.padding, dilation: geometry.dilation, first_channel: 0, group_channels: groupChannels)
  }

  /// Output channels per group.
  var groupOutputs: Int { outputs / groups }

  /// Rows per block: what fits the second-level cache beside its products.
  var blockRows: Int { min(rows, max(16, 65536 / columns)) }

  private func shape(group: Int) -> pbe_convolution_shape {
    var shape = template
    shape.first_channel = group * shape.group_channels
    return shape
  }

  /// Writes rows of the patch matrix.
  func gather(
    _ x: UnsafePointer<Float>, _ prologue: pbe_prologue, group: Int, rows: Range<Int>,
    into columns: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: shape(group: group)) { shape in
      withUnsafePointer(to: prologue) {
        pbe_im2col(x, shape, $0, columns, rows.lowerBound, rows.upperBound)
      }
    }
  }

  /// Adds rows of the patch matrix's gradient to the image's.
  func scatter(
    _ columns: UnsafePointer<Float>, group: Int, rows: Range<Int>, into dx: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: shape(group: group)) {
      pbe_col2im(columns, $0, dx, rows.lowerBound, rows.upperBound)
    }
  }
}
