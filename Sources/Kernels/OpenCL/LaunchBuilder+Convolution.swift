/// The operands of the kernel `convolution`, which also does input gradients and matrix products.
struct DenseConvolution {
  var input: LaunchPlan.Argument
  /// (n, c, h, w).
  var inputShape: Shape
  var filter: Value
  /// The filter's taps are flipped, and its input and output channels exchanged.
  var transposed = false
  var prologue: Prologue?
  var bias: Value?
  var residual: Value?
  var output: Value
  /// (n, k, h', w').
  var outputShape: Shape
  var kernelHeight = 1, kernelWidth = 1
  var padY = 0, padX = 0
  var stride = 1, dilation = 1
  /// The forward stride of an input gradient.
  var divisor = 1
  /// How it is tuned.
  var family: ProductFamily

  /// Rows and columns of the filter.
  var taps: Int { kernelHeight * kernelWidth }
}

extension LaunchBuilder {
  // MARK: - Operators

  mutating func convolution(_ d: Convolution) throws {
    let g = d.geometry
    let (x, y) = (shape(d.input), shape(d.output))
    guard g.groups == 1 else {
      launchGrid(
        "grouped_convolution",
        [.value(d.input), .value(d.filter)] + affine(d.prologue?.affine)
          + activation(d.prologue?.activation ?? .identity)
          + [optional(d.bias), optional(d.residual), .value(d.output)]
          + (try ints(
            y.pixels, x.c, y.c, x.h, x.w, y.h, y.w, g.kernelHeight, g.kernelWidth, g.stride, g.padding,
            g.dilation,
            g.groups)),
        columns: y.c, rows: y.pixels)
      return
    }
    try dense(
      DenseConvolution(
        input: .value(d.input), inputShape: x, filter: d.filter, prologue: d.prologue, bias: d.bias,
        residual: d.residual, output: d.output, outputShape: y, kernelHeight: g.kernelHeight,
        kernelWidth: g.kernelWidth, padY: g.padding, padX: g.padding, stride: g.stride, dilation: g.dilation,
        family: .convolution(g, inputs: x.c, outputs: y.c)))
  }

  mutating func inputGradient(_ d: ConvolutionInputGradient) throws {
    let g = d.geometry
    let (dy, dx) = (shape(d.outputGradient), shape(d.inputGradient))
    guard g.groups == 1 else {
      launchGrid(
        "grouped_input_gradient",
        [.value(d.outputGradient), .value(d.filter), .value(d.inputGradient)]
          + (try ints(
            dx.pixels, dx.c, dy.c, dx.h, dx.w, dy.h, dy.w, g.kernelHeight, g.kernelWidth, g.stride, g.padding,
            g.dilation, g.groups)) + [flag(d.accumulate)],
        columns: dx.c, rows: dx.pixels)
      return
    }
    try dense(
      DenseConvolution(
        input: .value(d.outputGradient), inputShape: dy, filter: d.filter, transposed: true,
        residual: d.accumulate ? d.inputGradient : nil, output: d.inputGradient, outputShape: dx,
        kernelHeight: g.kernelHeight, kernelWidth: g.kernelWidth,
        padY: g.dilation * (g.kernelHeight - 1) - g.padding,
        padX: g.dilation * (g.kernelWidth - 1) - g.padding,
        dilation: g.dilation, divisor: g.stride,
        family: .convolution(g, inputs: dx.c, outputs: dy.c, isInputGradient: true)))
  }

  /// A matrix product is a convolution of images of one pixel, or, when `a` is transposed, the filter gradient of one.
  mutating func matrixProduct(_ d: MatrixProduct) throws {
    let output = shape(d.output)
    let (m, n) = (output.n, output.c)
    let k = d.transposeA ? shape(d.a).n : shape(d.a).c
    guard d.transposeA else {
      try dense(
        DenseConvolution(
          input: .value(d.a), inputShape: Shape(m, k), filter: d.b, transposed: d.transposeB, bias: d.bias,
          residual: d.accumulate ? d.output : nil, output: d.output, outputShape: Shape(m, n),
          family: .matrixProduct))
      return
    }
    var b = LaunchPlan.Argument.value(d.b)
    if d.transposeB {
      let packed = try need(.filter, floats: k * n)
      try pack(
        d.b, to: packed, taps: 1, rows: k, columns: n, padded: n, rowStride: n, blockStride: n, width: n,
        transpose: true)
      b = packed
    }
    try parts(
      FilterParts(
        input: .value(d.a), inputShape: Shape(k, m), gradient: b, gradientShape: Shape(k, n),
        output: d.output,
        geometry: ConvolutionGeometry(kernelHeight: 1, kernelWidth: 1), bias: d.bias,
        accumulate: d.accumulate,
        family: .matrixProduct))
  }

  // MARK: - Kernels

  /// A convolution by the algorithm that its family is tuned to.
  private mutating func dense(_ c: DenseConvolution) throws {
    let parameters = parameters(c.family, inputs: c.inputShape.c, outputs: c.outputShape.c)
    switch parameters.algorithm {
    case .tensorCore: try tensorCoreConvolution(c, parameters)
    case .winograd where WinogradTiles(c) != nil: try winogradConvolution(c, parameters)
    case .tiled: try tiledConvolution(c, parameters)
    default: try convolutionInRegisters(c)
    }
  }

  private mutating func convolutionInRegisters(_ c: DenseConvolution) throws {
    let (x, y, taps) = (c.inputShape, c.outputShape, c.taps)
    let width = tuning.width(y.c)
    let blocks = divideUp(y.c, width)
    let padded = blocks * width

    // A filter as it is serves where its rows are whole vectors.
    var filter = LaunchPlan.Argument.value(c.filter)
    var rowStride = y.c
    var blockStride = width
    if c.transposed || padded != y.c {
      // A CPU reads one block after the other, a GPU's neighbours read all blocks at once.
      (rowStride, blockStride) = tuning.isCPU ? (width, taps * x.c * width) : (padded, width)
      filter = try need(.filter, floats: taps * x.c * padded)
      try pack(
        c.filter, to: filter, taps: taps, rows: x.c, columns: y.c, padded: padded, rowStride: rowStride,
        blockStride: blockStride, width: width, transpose: c.transposed)
    }

    let columns = divideUp(y.w, c.divisor) * c.divisor
    let pixels = y.n * y.h * columns
    var perItem = tuning.pixels
    while perItem > 1, divideUp(pixels, perItem) * blocks < itemsToFill { perItem /= 2 }
    // A prologue on load costs as much as a few products: it pays where an element is loaded once or twice.
    let loaded = try load(
      c.input, shape: x, prologue: c.prologue, onLoad: taps * blocks / max(1, c.stride * c.stride) <= 2)

    var variant = "-DCONVOLUTION -DVW=\(width) -DPIXELS=\(perItem)" + loaded.options
    if !tuning.isCPU, x.c % 4 == 0 { variant += " -DUNROLL=4" }
    if c.divisor > 1 { variant += " -DDIVISOR=\(c.divisor)" }
    let zeros = try need(.zeros, floats: x.c)
    let local: [Int]
    if tuning.isCPU {
      local = [1, 1]
    } else {
      let across = powerOfTwo(blocks, limit: 16)
      local = [across, 128 / across]
    }
    launch(
      "convolution",
      [loaded.input, filter, zeros] + loaded.arguments
        + [optional(c.bias), optional(c.residual), .value(c.output)]
        + (try ints(
          pixels, x.c, y.c, x.h, x.w, y.h, y.w, c.kernelHeight, c.kernelWidth, c.padY, c.padX, c.stride,
          c.dilation,
          rowStride, blockStride)),
      global: [blocks, divideUp(pixels, perItem)], local: local, variant: variant)
  }

  /// An input as a kernel reads it: `scale`, `shift`, `parameter` are the prologue's arguments.
  struct LoadedInput {
    var input: LaunchPlan.Argument
    var options = ""
    var arguments: [LaunchPlan.Argument] = [.none, .none, .float(0)]
  }

  /// The image that a kernel reads: transformed `onLoad`, or once, beforehand.
  mutating func load(
    _ input: LaunchPlan.Argument, shape: Shape, prologue: Prologue?, onLoad: Bool
  ) throws -> LoadedInput {
    guard let prologue, prologue.affine != nil || prologue.activation != .identity else {
      return LoadedInput(input: input)
    }
    if onLoad {
      return LoadedInput(
        input: input,
        options: " -DPROLOGUE=\(prologue.affine == nil ? 1 : 2) -DACTIVATION=\(prologue.activation.code)",
        arguments: affine(prologue.affine) + [.float(prologue.activation.parameter)])
    }
    let transformed = try need(.input, floats: shape.count)
    try activate(input, prologue.affine, prologue.activation, to: transformed, shape: shape)
    return LoadedInput(input: transformed)
  }

  mutating func pack(
    _ filter: Value, to output: LaunchPlan.Argument, taps: Int, rows: Int, columns: Int, padded: Int,
    rowStride: Int,
    blockStride: Int, width: Int, transpose: Bool
  ) throws {
    grid(
      "pack_filter",
      [.value(filter), output] + (try ints(taps, rows, columns, padded, rowStride, blockStride, width))
        + [flag(transpose)],
      columns: padded, rows: taps * rows)
  }

  /// A launch of one work-item per output element with a loop of its own.
  mutating func launchGrid(_ kernel: String, _ arguments: [LaunchPlan.Argument], columns: Int, rows: Int) {
    let width = powerOfTwo(columns, limit: tuning.isCPU ? 16 : 64)
    launch(
      kernel, arguments, global: [columns, rows], local: [width, max(1, (tuning.isCPU ? 16 : 128) / width)])
  }
}
