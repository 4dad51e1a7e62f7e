import CKernels

/// Convolutions of one group as products that read a padded copy of the images, a cache-sized block at a time: what
/// Winograd's way does not cover (stride 2, 1x1, few channels).
///
/// Seen from the side that is read ("source": the input, or for an input gradient the output gradient).
struct PaddedImages {
  /// Per image: floats of the image, and of its padded copy.
  let imageCount: Int, paddedCount: Int
  let paddedWidth: Int, channels: Int
  /// The images serve as they are.
  let isWhole: Bool
  private let padding: pbe_padding

  init(_ shape: Shape, top: Int, left: Int, height: Int, width: Int, step: Int = 1, prologue: Prologue? = nil)
  {
    padding = pbe_padding(
      height: shape.h, width: shape.w, channels: shape.c, top: top, left: left, padded_height: height,
      padded_width: width, step: step)
    imageCount = shape.h * shape.w * shape.c
    paddedCount = height * width * shape.c
    paddedWidth = width
    channels = shape.c
    isWhole =
      prologue == nil && top == 0 && left == 0 && step == 1 && height == shape.h && width == shape.w
  }

  /// How many images' copies, of `count`, fit `bytes`.
  func images(_ bytes: Int, of count: Int) -> Int { max(1, min(count, bytes / (4 * paddedCount))) }

  /// The floats that copies of `images` need.
  func scratch(_ images: Int) -> Int { isWhole ? 0 : images * paddedCount }

  /// Where an image's pixel lies in a block of copies.
  func offset(_ image: Int, _ row: Int, _ column: Int) -> Int {
    image * paddedCount + (row * paddedWidth + column) * channels
  }

  /// Copies image `image` of the batch to `copy`.
  func load(
    _ x: UnsafePointer<Float>, _ image: Int, _ prologue: pbe_prologue, to copy: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: padding) { padding in
      withUnsafePointer(to: prologue) { pbe_pad_image(x + image * imageCount, padding, $0, copy) }
    }
  }
}

/// A table that C reads for as long as somebody holds it.
final class Offsets {
  let base: UnsafeMutablePointer<Int>
  let count: Int

  init(_ values: [Int]) {
    count = values.count
    base = .allocate(capacity: max(1, count))
    base.initialize(from: values, count: count)
  }

  deinit { base.deallocate() }
}

/// One product of a direct convolution: pixels of the result that see the same taps of the filter.
private struct PixelProduct {
  /// The taps (positions in the kernel) in the order of the packed filter.
  var taps: [Int]
  var runs: Offsets
  var runLength: Int
  /// Per row of a block: where its patch and its result begin.
  var patches: Offsets, results: Offsets
  /// Rows per image.
  var rows: Int
  /// Where its filter begins in the packed filters.
  var filterOffset: Int

  /// Whether sums in lanes beat vectors of columns.
  func hasFewColumns(_ columns: Int) -> Bool { columns <= 4 && runLength % 16 == 0 }
}

extension CPUCompiler {
  /// Bytes of padded images that one thread works on: half of a second-level cache.
  private static let blockBytes = 400 << 10

  func directConvolution(_ d: Convolution) throws -> Step {
    let g = d.geometry
    let (input, output) = (shape(d.input), shape(d.output))
    let (source, stride) = Self.source(g, input, output, d.prologue)
    let block = source.images(Self.blockBytes, of: input.n)
    let (runs, runLength) = Self.runs(g, source)
    var (patches, results): ([Int], [Int]) = ([], [])
    for n in 0..<block {
      for i in 0..<output.h {
        for j in 0..<output.w {
          patches.append(source.offset(n, i * stride, j * stride))
          results.append(((n * output.h + i) * output.w + j) * output.c)
        }
      }
    }
    let product = PixelProduct(
      taps: [], runs: Offsets(runs), runLength: runLength, patches: Offsets(patches),
      results: Offsets(results), rows: output.h * output.w, filterOffset: 0)
    let depth = g.kernelHeight * g.kernelWidth * input.c
    let filter = try floats(d.filter)
    return try direct(
      source, try floats(d.input), images: input.n, block: block, prologue: try bind(d.prologue), [product],
      depth: depth, columns: output.c, bias: try floats(d.bias), added: try floats(d.residual),
      result: try floats(d.output), resultCount: output.count / output.n
    ) { to in
      if product.hasFewColumns(output.c) {
        for row in 0..<depth { for c in 0..<output.c { to[c * depth + row] = filter[row * output.c + c] } }
        return
      }
      Parallel.ranges((output.c + 15) / 16, grain: 1) {
        pbe_pack_panels(filter, depth, output.c, to, $0.lowerBound, $0.upperBound)
      }
    }
  }

  /// The images that patches are read from, and the pixels between two patches.
  private static func source(
    _ g: ConvolutionGeometry, _ input: Shape, _ output: Shape, _ prologue: Prologue?
  ) -> (PaddedImages, stride: Int) {
    // A single tap needs only the pixels that it meets.
    if g.kernelHeight * g.kernelWidth == 1 && g.padding == 0 {
      return (
        PaddedImages(
          input, top: 0, left: 0, height: output.h, width: output.w, step: g.stride, prologue: prologue), 1
      )
    }
    return (
      PaddedImages(
        input, top: g.padding, left: g.padding, height: input.h + 2 * g.padding,
        width: input.w + 2 * g.padding, prologue: prologue), g.stride
    )
  }

  /// Where the taps of a patch lie: kernel rows are whole runs unless taps are spread.
  private static func runs(_ g: ConvolutionGeometry, _ source: PaddedImages) -> ([Int], Int) {
    let rows = (0..<g.kernelHeight).map { source.offset(0, $0 * g.dilation, 0) }
    guard g.dilation > 1 else { return (rows, g.kernelWidth * source.channels) }
    let columns = (0..<g.kernelWidth).map { $0 * g.dilation * source.channels }
    return (rows.flatMap { row in columns.map { row + $0 } }, source.channels)
  }

  /// Gathered, not scattered: pixels of the input whose places modulo the stride agree see the same taps.
  func directInputGradient(_ d: ConvolutionInputGradient) throws -> Step {
    let g = d.geometry
    let (dy, dx) = (shape(d.outputGradient), shape(d.inputGradient))
    /// The taps that the places `phase` modulo the stride see, with the distances to their pixels of dy, ascending.
    func taps(_ kernel: Int, _ phase: Int) -> [(tap: Int, distance: Int)] {
      (0..<kernel).reversed().compactMap { tap in
        let numerator = phase + g.padding - tap * g.dilation
        return numerator % g.stride == 0 ? (tap, numerator / g.stride) : nil
      }
    }
    func margins(_ kernel: Int, _ extent: Int) -> (before: Int, whole: Int) {
      var (least, most) = (0, 0)
      for phase in 0..<min(g.stride, extent) {
        for (_, distance) in taps(kernel, phase) {
          least = min(least, distance)
          most = max(most, (extent - 1 - phase) / g.stride + distance)
        }
      }
      return (-least, most + 1)
    }
    let (rows, columns) = (margins(g.kernelHeight, dx.h), margins(g.kernelWidth, dx.w))
    let source = PaddedImages(
      dy, top: rows.before, left: columns.before, height: rows.before + max(dy.h, rows.whole),
      width: columns.before + max(dy.w, columns.whole))
    let block = source.images(Self.blockBytes, of: dy.n)
    var products: [PixelProduct] = []
    var filterOffset = 0
    for phaseY in 0..<min(g.stride, dx.h) {
      for phaseX in 0..<min(g.stride, dx.w) {
        let (vertical, horizontal) = (taps(g.kernelHeight, phaseY), taps(g.kernelWidth, phaseX))
        guard !vertical.isEmpty, !horizontal.isEmpty else { continue }
        let taps = vertical.flatMap { row in horizontal.map { row.tap * g.kernelWidth + $0.tap } }
        let isRun = zip(horizontal, horizontal.dropFirst()).allSatisfy { $0.distance + 1 == $1.distance }
        let places = isRun ? [horizontal[0].distance] : horizontal.map(\.distance)
        let runs = vertical.flatMap { row in
          places.map { (row.distance * source.paddedWidth + $0) * dy.c }
        }
        let (ys, xs) = (
          Array(stride(from: phaseY, to: dx.h, by: g.stride)),
          Array(stride(from: phaseX, to: dx.w, by: g.stride))
        )
        var (patches, results): ([Int], [Int]) = ([], [])
        for n in 0..<block {
          for (i, y) in ys.enumerated() {
            for (j, x) in xs.enumerated() {
              patches.append(source.offset(n, i + rows.before, j + columns.before))
              results.append(((n * dx.h + y) * dx.w + x) * dx.c)
            }
          }
        }
        let product = PixelProduct(
          taps: taps, runs: Offsets(runs), runLength: isRun ? horizontal.count * dy.c : dy.c,
          patches: Offsets(patches), results: Offsets(results), rows: ys.count * xs.count,
          filterOffset: filterOffset)
        filterOffset += product.taps.count * dy.c * ((dx.c + 15) / 16 * 16)
        products.append(product)
      }
    }
    // Pixels that no tap sees.
    let clears = !d.accumulate && products.reduce(0) { $0 + $1.rows } < dx.h * dx.w
    let filter = try floats(d.filter)
    let result = try floats(d.inputGradient)
    return try direct(
      source, try floats(d.outputGradient), images: dy.n, block: block, prologue: try bind(nil), products,
      depth: products.reduce(0) { $0 + $1.taps.count } * dy.c, columns: dx.c, bias: nil,
      added: d.accumulate ? result : nil, result: result, resultCount: dx.count / dx.n, clears: clears
    ) { to in
      for product in products where product.hasFewColumns(dx.c) {
        for c in 0..<dx.c {
          for (index, tap) in product.taps.enumerated() {
            (to + product.filterOffset + (c * product.taps.count + index) * dy.c)
              .update(from: filter + (tap * dx.c + c) * dy.c, count: dy.c)
          }
        }
      }
      Parallel.ranges((dx.c + 15) / 16, grain: 1) { panels in
        for product in products where !product.hasFewColumns(dx.c) {
          pbe_pack_transposed(
            filter, product.taps, product.taps.count, dx.c, dy.c, to + product.filterOffset,
            panels.lowerBound,
            panels.upperBound)
        }
      }
    }
  }

  private func direct(
    _ source: PaddedImages, _ x: UnsafePointer<Float>, images: Int, block: Int, prologue: pbe_prologue,
    _ products: [PixelProduct], depth: Int, columns: Int, bias: UnsafePointer<Float>?,
    added: UnsafePointer<Float>?, result: UnsafeMutablePointer<Float>, resultCount: Int, clears: Bool = false,
    pack: @escaping (UnsafeMutablePointer<Float>) -> Void
  ) throws -> Step {
    let paddedColumns = (columns + 15) / 16 * 16
    let (filterCount, copyCount) = (depth * paddedColumns, source.scratch(block))
    // No more threads than blocks get one.
    let copies = min(Parallel.threads, (images + block - 1) / block)
    scratch.reserve(floats: filterCount + paddedColumns + copies * copyCount)
    let scratch = scratch
    return { _ in
      let packed = scratch.floats
      pack(packed)
      let paddedBias = packed + filterCount
      if let bias {
        paddedBias.update(repeating: 0, count: paddedColumns)
        paddedBias.update(from: bias, count: columns)
      }
      Parallel.blocks((images + block - 1) / block) { thread, index in
        let first = index * block
        let count = min(block, images - first)
        var a = x + first * source.imageCount
        if !source.isWhole {
          let copy = paddedBias + paddedColumns + thread * copyCount
          for n in 0..<count { source.load(x, first + n, prologue, to: copy + n * source.paddedCount) }
          a = UnsafePointer(copy)
        }
        let to = result + first * resultCount
        if clears { to.update(repeating: 0, count: count * resultCount) }
        for product in products {
          var call = pbe_direct(
            a: a, row_offsets: product.patches.base, rows: count * product.rows,
            run_offsets: product.runs.base, runs: product.runs.count, run_length: product.runLength,
            b: packed + product.filterOffset, columns: columns, bias: bias == nil ? nil : paddedBias,
            added: added.map { $0 + first * resultCount }, c: to, result_offsets: product.results.base)
          if product.hasFewColumns(columns) {
            pbe_direct_few_columns(&call)
          } else {
            pbe_direct_product(&call)
          }
        }
      }
    }
  }

  /// Adds up in an order of its own, whatever the number of threads: each part of the filter has one owner, who goes
  /// through all pixels.
  func directFilterGradient(_ d: ConvolutionFilterGradient) throws -> Step {
    let g = d.geometry
    let (input, output) = (shape(d.input), shape(d.outputGradient))
    let (source, stride) = Self.source(g, input, output, d.prologue)
    let group = source.images(4 << 20, of: input.n)
    let (runs, runLength) = Self.runs(g, source)
    var lines: [Int] = []
    for n in 0..<group { for i in 0..<output.h { lines.append(source.offset(n, i * stride, 0)) } }
    let lineOffsets = Offsets(lines)
    // The pixels that sums in registers run over; their output gradients stay in the first-level cache.
    let lineBlock = max(1, 256 / output.w)
    // Elements of a run with one owner.
    let part = 32
    let parts = (runLength + part - 1) / part
    let (x, dy, gradient) = (try floats(d.input), try floats(d.outputGradient), try floats(d.filterGradient))
    let prologue = try bind(d.prologue)
    scratch.reserve(floats: source.scratch(group))
    let scratch = scratch
    return { _ in
      for first in Swift.stride(from: 0, to: input.n, by: group) {
        let count = min(group, input.n - first)
        var a = x + first * source.imageCount
        if !source.isWhole {
          let copies = scratch.floats
          Parallel.blocks(count) { _, n in
            source.load(x, first + n, prologue, to: copies + n * source.paddedCount)
          }
          a = UnsafeMutablePointer(copies)
        }
        let lines = count * output.h
        Parallel.blocks(runs.count * parts) { _, task in
          let (run, begin) = (task / parts, task % parts * part)
          for line in Swift.stride(from: 0, to: lines, by: lineBlock) {
            var call = pbe_direct_gradient(
              a: a + runs[run], line_offsets: lineOffsets.base + line, lines: min(lineBlock, lines - line),
              line_pixels: output.w, pixel_step: stride * input.c,
              dy: dy + (first * output.h + line) * output.w * output.c, columns: output.c,
              gradient: gradient + run * runLength * output.c, accumulate: first + line > 0 ? 1 : 0)
            pbe_direct_filter_gradient(&call, begin, min(runLength, begin + part))
          }
        }
      }
    }
  }
}
