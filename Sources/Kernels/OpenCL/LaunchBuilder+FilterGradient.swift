/// The operands of a filter gradient, which also does products with a transposed left matrix.
struct FilterParts {
  var input: LaunchPlan.Argument
  /// (n, c, h, w).
  var inputShape: Shape
  var gradient: LaunchPlan.Argument
  /// (n, k, h', w').
  var gradientShape: Shape
  var output: Value
  var geometry: ConvolutionGeometry
  var prologue: Prologue?
  /// Vector of k, added to the result.
  var bias: Value?
  /// Adds to the output.
  var accumulate = false
  /// How it is tuned.
  var family: ProductFamily
}

extension LaunchBuilder {
  mutating func filterGradient(_ d: ConvolutionFilterGradient) throws {
    try parts(
      FilterParts(
        input: .value(d.input), inputShape: shape(d.input), gradient: .value(d.outputGradient),
        gradientShape: shape(d.outputGradient), output: d.filterGradient, geometry: d.geometry,
        prologue: d.prologue,
        family: .filterGradient(d.geometry, inputs: shape(d.input).c, outputs: shape(d.outputGradient).c)))
  }

  /// A filter gradient by the algorithm that its family is tuned to.
  mutating func parts(_ f: FilterParts) throws {
    let parameters = parameters(
      f.family, inputs: f.inputShape.c, outputs: f.gradientShape.c, f.geometry.groups)
    switch parameters.algorithm {
    case .tensorCore: try tensorCoreFilterGradient(f, parameters)
    case .winograd where WinogradTiles(f.geometry) != nil && f.bias == nil && !f.accumulate:
      try winogradFilterGradient(f, parameters)
    case .tiled where f.geometry.groups == 1: try tiledFilterGradient(f, parameters)
    default: try filterGradientInRegisters(f)
    }
  }

  /// The sum of partial results, with an epilogue.
  mutating func sumParts(
    _ partial: LaunchPlan.Argument, bias: LaunchPlan.Argument = .none, residual: LaunchPlan.Argument = .none,
    output: LaunchPlan.Argument, count: Int, parts: Int, columns: Int
  ) throws {
    elementwise(
      "sum_parts", [partial, bias, residual, output] + (try ints(count, parts, columns)), count: count)
  }

  /// Sums over the rows of all images, in parts: for parallel work, and since a sum of sums of a few thousand terms
  /// rounds less than one long sum.
  private mutating func filterGradientInRegisters(_ f: FilterParts) throws {
    let g = f.geometry
    let (x, y) = (f.inputShape, f.gradientShape)
    let taps = g.kernelHeight * g.kernelWidth
    let grouped = g.groups > 1
    let depth = x.c / g.groups
    let count = taps * depth * y.c
    let width = grouped ? 1 : tuning.divisor(y.c)
    let channels = grouped ? 1 : [8, 4, 3, 2].first { depth % $0 == 0 } ?? 1
    let items = count / width / channels

    let rows = y.n * y.h
    let longest = max(1, 2048 / max(1, y.w))
    let wanted = max(divideUp(rows, longest), divideUp(itemsToFill, items))
    let affordable = max(1, 16 << 20 / max(1, count))
    let rowsPerPart = max(1, (rows + min(wanted, affordable) - 1) / min(wanted, affordable))
    let partCount = divideUp(rows, rowsPerPart)
    let direct = partCount == 1 && !f.accumulate && f.bias == nil
    let target = direct ? .value(f.output) : try need(.partial, floats: partCount * count)
    let sizes = try ints(
      x.c, y.c, x.h, x.w, y.h, y.w, rows, rowsPerPart, taps, g.kernelWidth, g.stride, g.padding, g.dilation)

    if grouped {
      let across = powerOfTwo(y.c, limit: tuning.isCPU ? 16 : 64)
      launch(
        "grouped_filter_gradient",
        [f.input, f.gradient] + affine(f.prologue?.affine) + activation(f.prologue?.activation ?? .identity)
          + [target] + sizes + [try int(g.groups)],
        global: [y.c, taps * depth, partCount], local: [across, 1, 1])
    } else {
      let loaded = try load(
        f.input, shape: x, prologue: f.prologue,
        onLoad: taps * (y.c / width) / max(1, g.stride * g.stride) <= 2)
      let across = tuning.isCPU ? 1 : powerOfTwo(y.c / width, limit: 16)
      launch(
        "filter_gradient", [loaded.input, f.gradient] + loaded.arguments + [target] + sizes,
        global: [y.c / width, depth / channels, taps * partCount],
        local: [across, tuning.isCPU ? 1 : min(powerOfTwo(depth / channels, limit: 8), 64 / across), 1],
        variant: "-DFILTER_GRADIENT -DVW=\(width) -DCHANNELS=\(channels)" + loaded.options)
    }
    if !direct {
      try sumParts(
        target, bias: optional(f.bias), residual: f.accumulate ? .value(f.output) : .none,
        output: .value(f.output), count: count, parts: partCount, columns: y.c)
    }
  }
}
