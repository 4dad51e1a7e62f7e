/// The operands of the kernel `tiled_product`; `FILTER` and `PLAIN` as in tiled.cl.
struct TiledProduct {
  var left: LaunchBuilder.LoadedInput
  var right: LaunchPlan.Argument
  var isFilter = false
  var isPlain = false
  /// (n, c, h, w) of the image that is the left matrix.
  var image: Shape
  /// (n, k, h', w') of the convolution's output, which is the result or, of a filter gradient, the right matrix.
  var output: Shape
  var kernelHeight = 1, kernelWidth = 1
  var padY = 0, padX = 0
  var stride = 1, dilation = 1
  /// The forward stride of an input gradient.
  var divisor = 1
  /// Equal products, one after the other in memory.
  var batches = 1

  var columns: Int { output.c }
  /// Rows and terms of the sums, in all.
  var rows: Int { isFilter ? kernelHeight * kernelWidth * image.c : output.pixels }
  var depth: Int { isFilter ? output.pixels : kernelHeight * kernelWidth * image.c }

  /// Rows in tiles of `height`. A strided input gradient has classes of pixels, each in whole tiles.
  func tilesDown(_ height: Int) -> Int {
    guard divisor > 1 else { return divideUp(rows, height) }
    return divisor * divisor
      * divideUp(output.n * divideUp(output.h, divisor) * divideUp(output.w, divisor), height)
  }
}

extension LaunchBuilder {
  // MARK: - Operators

  /// A convolution, an input gradient or a matrix product by shared tiles.
  mutating func tiledConvolution(_ c: DenseConvolution, _ parameters: ProductParameters) throws {
    let (x, y) = (c.inputShape, c.outputShape)
    var filter = LaunchPlan.Argument.value(c.filter)
    if c.transposed {
      filter = try need(.filter, floats: c.taps * x.c * y.c)
      try pack(
        c.filter, to: filter, taps: c.taps, rows: x.c, columns: y.c, padded: y.c, rowStride: y.c,
        blockStride: 1,
        width: 1, transpose: true)
    }
    let parameters = parameters.fitted(columns: y.c)
    let product = TiledProduct(
      left: try loadForGroup(c.input, shape: x, prologue: c.prologue), right: filter,
      isPlain: c.taps == 1 && c.stride == 1 && c.divisor == 1 && c.padY == 0 && c.padX == 0, image: x,
      output: y,
      kernelHeight: c.kernelHeight, kernelWidth: c.kernelWidth, padY: c.padY, padX: c.padX, stride: c.stride,
      dilation: c.dilation, divisor: c.divisor)
    try tiled(
      product, parameters, bias: optional(c.bias), residual: optional(c.residual), output: .value(c.output))
  }

  /// A filter gradient, or a product with a transposed left matrix, by shared tiles.
  mutating func tiledFilterGradient(_ f: FilterParts, _ parameters: ProductParameters) throws {
    let g = f.geometry
    let (x, y) = (f.inputShape, f.gradientShape)
    let taps = g.kernelHeight * g.kernelWidth
    let parameters = parameters.fitted(columns: y.c)
    let product = TiledProduct(
      left: try loadForGroup(f.input, shape: x, prologue: f.prologue), right: f.gradient,
      isFilter: true, isPlain: taps == 1 && g.stride == 1 && g.padding == 0, image: x, output: y,
      kernelHeight: g.kernelHeight, kernelWidth: g.kernelWidth, padY: g.padding, padX: g.padding,
      stride: g.stride, dilation: g.dilation)
    try tiled(
      product, parameters, bias: optional(f.bias), residual: f.accumulate ? .value(f.output) : .none,
      output: .value(f.output))
  }

  // MARK: - Kernels

  /// A whole work-group shares what it loads, so that a prologue on load costs little, unless it calls functions.
  mutating func loadForGroup(
    _ input: LaunchPlan.Argument, shape: Shape, prologue: Prologue?
  ) throws -> LoadedInput {
    try load(input, shape: shape, prologue: prologue, onLoad: prologue?.activation.isCheap ?? true)
  }

  /// A product, its sums in parts where that fills the device or spares rounding.
  private mutating func tiled(
    _ product: TiledProduct, _ parameters: ProductParameters, bias: LaunchPlan.Argument,
    residual: LaunchPlan.Argument, output: LaunchPlan.Argument
  ) throws {
    let parts = partCount(product, parameters, longest: product.isFilter ? 2048 : .max)
    guard parts > 1 else {
      try launchTiled(product, parameters, parts: 1, bias: bias, residual: residual, output: output)
      return
    }
    let count = product.rows * product.columns
    let partial = try need(.partial, floats: parts * count)
    try launchTiled(product, parameters, parts: parts, output: partial)
    try sumParts(
      partial, bias: bias, residual: residual, output: output, count: count, parts: parts,
      columns: product.columns)
  }

  /// The parts of each sum: enough work-groups for the device, and no part of more than `longest` terms, as long as
  /// the partial results stay below 64 MiB.
  func partCount(_ product: TiledProduct, _ parameters: ProductParameters, longest: Int) -> Int {
    let groups =
      product.tilesDown(parameters.tileM) * divideUp(product.columns, parameters.tileN)
      * product.batches
    let wanted = parameters.fill * tuning.limits.computeUnits
    let slices = max(1, divideUp(product.depth, parameters.tileK))
    // A part of a few slices costs more than it brings.
    let toFill = min((wanted + groups - 1) / max(1, groups), slices / 8)
    let toRound = product.depth / longest
    let affordable = (16 << 20) / max(1, product.rows * product.columns * product.batches)
    let parts = max(1, min(max(toFill, toRound), affordable))
    let slicesPerPart = divideUp(slices, parts)
    return divideUp(slices, slicesPerPart)
  }

  /// One launch of `tiled_product`. With several parts, or batches, `output` is (part, batch, row, column), and
  /// `residual` the same.
  mutating func launchTiled(
    _ product: TiledProduct, _ parameters: ProductParameters, parts: Int, bias: LaunchPlan.Argument = .none,
    residual: LaunchPlan.Argument = .none, output: LaunchPlan.Argument
  ) throws {
    let (x, y) = (product.image, product.output)
    var variant =
      "-DCOMMON=tiled \(parameters.buildOptions(for: tuning.limits.vendor))" + product.left.options
    if product.isFilter { variant += " -DFILTER" }
    if product.isPlain { variant += " -DPLAIN" }
    if x.c % parameters.vector == 0 { variant += " -DWIDE_A=1" }
    if y.c % parameters.vector == 0 { variant += " -DWIDE_B=1" }
    if product.divisor > 1 {
      let step = product.divisor / Self.greatestCommonDivisor(product.divisor, product.dilation)
      variant += " -DDIVISOR=\(product.divisor) -DTAP_STEP=\(step)"
    }
    let groups =
      product.tilesDown(parameters.tileM) * divideUp(product.columns, parameters.tileN)
    let sizes = try ints(
      y.n, x.c, y.c, x.h, x.w, y.h, y.w, product.kernelHeight, product.kernelWidth, product.padY,
      product.padX,
      product.stride, product.dilation)
    let left = product.isFilter ? product.depth * x.c : product.rows * x.c
    let distances =
      product.batches == 1
      ? try ints(0, 0, product.rows * y.c)
      : try ints(left, product.depth * y.c, product.rows * y.c)
    launch(
      "tiled_product",
      [product.left.input, product.right] + product.left.arguments + [bias, residual, output] + sizes
        + [.divisor(y.h), .divisor(y.w)] + (try ints(parts, product.batches)) + distances,
      global: [groups * parameters.groupSize, parts * product.batches], local: [parameters.groupSize, 1],
      variant: variant, isFixed: true)
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
  }
}
