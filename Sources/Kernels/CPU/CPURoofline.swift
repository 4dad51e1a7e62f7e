import CKernels

/// What the CPU's kernels reach, beside what the machine allows (Williams, Waterman and Patterson, "Roofline", 2009): a
/// phase can't be faster than its FLOPs at the peak rate, nor than its bytes at memory's bandwidth.
public struct CPURoofline: Codable, Sendable {
  /// One phase of one operator.
  public struct Line: Codable, Sendable {
    /// What is measured.
    public var name: String
    /// FLOPs done, and FLOPs of the direct definition where a fast algorithm does fewer.
    public var flops: Double, directFlops: Double
    /// Bytes of main memory that it must read and write.
    public var bytes: Double
    /// Seconds measured: the median.
    public var seconds: Double
    /// The least seconds that the machine allows.
    public var bound: Double
    /// Whether arithmetic, rather than memory, sets the bound.
    public var isComputeBound: Bool
  }

  /// Float32 FLOP/s of all threads, measured with multiply-adds in registers.
  public var peak: Double
  /// Bytes/s of all threads, measured with a sum of two large arrays.
  public var bandwidth: Double
  /// The phases.
  public var lines: [Line] = []

  /// Measures the machine, the matrix product and the Winograd phases of PreActResNet-18's four stages.
  ///
  /// - Parameters:
  ///   - width: channels of the first stage, a multiple of 16.
  ///   - batch: images.
  ///   - repeats: timed repetitions of each.
  ///   - progress: called between the measurements; throwing stops.
  /// - Throws: `device` when there is not enough memory.
  public init(
    width: Int, batch: Int, repeats: Int, progress: () throws -> Void = {}
  ) throws {
    peak = 0
    bandwidth = 0
    _ = try CPUBackend()
    let rounds = 2_000_000
    var sink: Float = 0
    let flops = Double(Parallel.threads) * pbe_peak_flops(rounds, &sink)
    // Limits are what the machine does at best.
    let computing = Self.times(repeats) {
      Parallel.blocks(Parallel.threads) { _, _ in
        var sink: Float = 0
        _ = pbe_peak_flops(rounds, &sink)
      }
    }[0]
    peak = flops / computing
    let count = 16 << 20
    let memory = try (0..<3).map { _ in try CPUStorage(byteCount: 4 * count) }
    defer { withExtendedLifetime(memory) {} }
    let arrays = memory.map { $0.base.assumingMemoryBound(to: Float.self) }
    let streaming = Self.times(repeats) {
      Parallel.ranges(count, grain: 1 << 18) {
        pbe_stream_add(
          arrays[0] + $0.lowerBound, arrays[1] + $0.lowerBound, arrays[2] + $0.lowerBound, $0.count)
      }
    }[0]
    bandwidth = Double(3 * 4 * count) / streaming
    products(arrays, repeats)
    for (factor, size) in [(1, 32), (2, 16), (4, 8), (8, 4)] {
      try progress()
      try stage(channels: width * factor, size: size, batch: batch, repeats)
    }
  }

  /// Seconds of the repetitions, ascending.
  private static func times(_ repeats: Int, _ body: () -> Void) -> [Double] {
    let clock = ContinuousClock()
    body()
    return (0..<repeats).map { _ in clock.measure(body).seconds }.sorted()
  }

  private mutating func add(
    _ name: String, flops: Double, direct: Double? = nil, bytes: Double, _ repeats: Int, _ body: () -> Void
  ) {
    let (compute, memory) = (flops / peak, bytes / bandwidth)
    lines.append(
      Line(
        name: name, flops: flops, directFlops: direct ?? flops, bytes: bytes,
        seconds: Self.times(repeats, body).median, bound: max(compute, memory),
        isComputeBound: compute >= memory))
  }

  private mutating func products(_ arrays: [UnsafeMutablePointer<Float>], _ repeats: Int) {
    let n = 1024
    let (flops, bytes) = (2 * Double(n * n * n), Double(3 * 4 * n * n))
    add("matrix product \(n)^3, OpenBLAS", flops: flops, bytes: bytes, repeats) {
      Parallel.ranges(n, grain: 128) {
        product(
          $0.count, n, n, arrays[0] + $0.lowerBound * n, n, arrays[1], n, arrays[2] + $0.lowerBound * n, n)
      }
    }
    // As Winograd has it: many small ones, here of 128 tiles and 128 channels.
    let (rows, depth) = (128, 128)
    add(
      "matrix products \(rows)x\(depth)x\(depth) in panels, own", flops: 72 * Double(rows * depth * depth),
      bytes: 0, repeats
    ) {
      Parallel.blocks(36) { _, xi in
        pbe_panel_product(
          arrays[0] + xi * rows * depth, arrays[1] + xi * depth * depth, arrays[2] + xi * rows * depth, rows,
          depth, depth)
      }
    }
  }

  /// A 3x3 convolution from `channels` to as many, and its phases, each alone, in the convolution's own blocks.
  private mutating func stage(channels: Int, size: Int, batch: Int, _ repeats: Int) throws {
    let geometry = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, padding: 1)
    let shape = Shape(batch, channels, size, size)
    guard let winograd = Winograd(geometry, input: shape, outputs: channels) else { return }
    let backend = try CPUBackend()
    let (x, y) = (try backend.makeTensor(shape, role: .image), try backend.makeTensor(shape, role: .image))
    let filter = try backend.makeTensor(Shape(channels, channels, 3, 3), role: .filter)
    var program = Program()
    let (input, weights, output) = (program.bind(x), program.bind(filter), program.bind(y))
    program.append(
      .convolution(Convolution(input: input, filter: weights, output: output, geometry: geometry)))
    let convolution = try backend.compile([program])[0]

    let (imageBytes, filterBytes) = (Double(4 * shape.count), Double(36 * channels * channels))
    let (tiles, depth) = (Double(winograd.tiles), Double(channels))
    let stride = winograd.stride(tiles: winograd.block, channels: channels)
    let transforms = try (0..<Parallel.threads).map { _ in try CPUStorage(byteCount: 4 * 72 * stride) }
    let v = transforms.map { $0.base.assumingMemoryBound(to: Float.self) }
    let transformed = try CPUStorage(byteCount: 4 * winograd.filterCount)
    let u = transformed.base.assumingMemoryBound(to: Float.self)
    defer { withExtendedLifetime((transforms, transformed, x, y, filter)) {} }
    let (from, to) = (
      try x.cpuPointer().assumingMemoryBound(to: Float.self),
      try y.cpuPointer().assumingMemoryBound(to: Float.self)
    )
    let w = try filter.cpuPointer().assumingMemoryBound(to: Float.self)
    var prologue = pbe_prologue(scale: nil, shift: nil, kind: 0, parameter: 0)
    let streams: Int32 = 4 * shape.count > CPUCompiler.streamedBytes ? 1 : 0
    let filterStreams: Int32 = 4 * winograd.filterCount > CPUCompiler.streamedBytes ? 1 : 0
    let name = "\(channels) channels, \(size)x\(size): "

    /// Calls `body` for parts of every block, as the convolution deals them out.
    func forEachPart(
      _ body: (_ part: Range<Int>, _ block: Range<Int>, _ v: UnsafeMutablePointer<Float>) -> Void
    ) {
      if winograd.sharesFilter {
        for block in winograd.blocks { winograd.parts(of: block) { body($0, block, v[0]) } }
      } else {
        let blocks = winograd.blocks
        Parallel.blocks(blocks.count) { thread, index in body(blocks[index], blocks[index], v[thread]) }
      }
    }
    func multiply(_ xi: Int, _ tiles: Int, _ v: UnsafeMutablePointer<Float>) {
      pbe_panel_product(
        v + xi * stride, u + xi * channels * channels, v + (36 + xi) * stride, tiles, channels, channels)
    }

    // FLOPs per element: 15 for three taps to six, in 3 + 6 rows; 22 for six pixels to six, in 4 + 6 (the vertical
    // ones are shared by neighbours); 16 for six to four, in 6 + 4.
    add(name + "filter transform", flops: 135 * depth * depth, bytes: 5 * filterBytes, repeats) {
      Parallel.ranges(channels / 16, grain: 1) {
        pbe_winograd_filter(w, u, channels, channels, 0, filterStreams, $0.lowerBound, $0.upperBound)
      }
    }
    add(name + "input transform", flops: 220 * tiles * depth, bytes: imageBytes, repeats) {
      forEachPart { part, block, v in
        var side = winograd.side(block, channels: channels, stride: stride)
        pbe_winograd_input(from, &side, &prologue, v, part.lowerBound, part.upperBound)
      }
    }
    let large = winograd.sharesFilter ? 4 * filterBytes * Double(winograd.blocks.count) : 0
    add(name + "products", flops: 72 * tiles * depth * depth, bytes: large, repeats) {
      if winograd.sharesFilter {
        for block in winograd.blocks { Parallel.blocks(36) { _, xi in multiply(xi, block.count, v[0]) } }
      } else {
        forEachPart { _, block, v in for xi in 0..<36 { multiply(xi, block.count, v) } }
      }
    }
    add(name + "output transform", flops: 160 * tiles * depth, bytes: imageBytes, repeats) {
      forEachPart { part, block, v in
        var side = winograd.side(block, channels: channels, stride: stride)
        pbe_winograd_output(v + 36 * stride, &side, nil, nil, streams, to, part.lowerBound, part.upperBound)
      }
    }
    add(
      name + "convolution", flops: 135 * depth * depth + 380 * tiles * depth + 72 * tiles * depth * depth,
      direct: 18 * Double(shape.count) * depth, bytes: 2 * imageBytes + filterBytes, repeats
    ) {
      // Fails for no reason that a run could have: nothing is written but memory.
      try? convolution.run(RunParameters())
    }
  }
}
