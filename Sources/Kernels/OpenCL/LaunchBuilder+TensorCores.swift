extension LaunchBuilder {
  // MARK: - Operators

  /// How a product of `inputs` to `outputs` channels is computed: on matrix units if the tuning has them for its
  /// family and mma.cl can, which loads vectors of four channels.
  func parameters(
    _ family: ProductFamily, inputs: Int, outputs: Int, _ groups: Int = 1
  ) -> ProductParameters {
    let suits = tuning.tensorCores != nil && inputs % 4 == 0 && outputs % 4 == 0 && groups == 1
    if suits, let parameters = tuning.tensorCoreProducts[family] { return parameters }
    let parameters = tuning.parameters(family)
    return parameters.algorithm == .tensorCore ? ProductParameters(algorithm: .registers) : parameters
  }

  /// A convolution, an input gradient or a matrix product on matrix units.
  mutating func tensorCoreConvolution(_ c: DenseConvolution, _ parameters: ProductParameters) throws {
    guard let cores = tuning.tensorCores else { return }
    let (x, y) = (c.inputShape, c.outputShape)
    let sizes = parameters.fittedToTensorCores(columns: y.c)
    let loaded = try loadForGroup(c.input, shape: x, prologue: c.prologue)

    // The pixels of a strided input gradient fall into classes that meet different taps.
    let classes = c.divisor * c.divisor
    let pixels = y.n * divideUp(y.h, c.divisor) * divideUp(y.w, c.divisor)
    let tiles = divideUp(pixels, sizes.tileM) * divideUp(y.c, sizes.tileN)
    let rounds = c.taps * divideUp(x.c, sizes.tileK * cores.termsPerWord)
    let (parts, perPart) = roundsPerPart(
      rounds, groups: tiles * classes, resultCount: y.count, longest: .max, fill: sizes.fill)
    let target = parts == 1 ? .value(c.output) : try need(.partial, floats: parts * y.count)

    var variant = "\(cores.buildOptions) -DMMA_CONVOLUTION \(sizes.tensorCoreOptions)" + loaded.options
    if c.transposed { variant += " -DFILTER_TRANSPOSED=1" }
    if c.divisor > 1 { variant += " -DDIVISOR=\(c.divisor)" }
    launch(
      "mma_convolution",
      [loaded.input, .value(c.filter)] + loaded.arguments + [optional(c.bias), optional(c.residual), target]
        + (try ints(
          y.n, x.c, y.c, x.h, x.w, y.h, y.w, c.kernelHeight, c.kernelWidth, c.padY, c.padX, c.stride,
          c.dilation,
          perPart)),
      global: [tiles * sizes.tensorCoreGroup, classes, parts], local: [sizes.tensorCoreGroup, 1, 1],
      variant: variant, isFixed: true)
    if parts > 1 {
      // The first part brought bias and residual.
      try sumParts(target, output: .value(c.output), count: y.count, parts: parts, columns: y.c)
    }
  }

  /// A filter gradient, or a product with a transposed left matrix, on matrix units.
  mutating func tensorCoreFilterGradient(_ f: FilterParts, _ parameters: ProductParameters) throws {
    guard let cores = tuning.tensorCores else { return }
    let (x, y, g) = (f.inputShape, f.gradientShape, f.geometry)
    let sizes = parameters.fittedToTensorCores(columns: y.c)
    let taps = g.kernelHeight * g.kernelWidth
    let loaded = try loadForGroup(f.input, shape: x, prologue: f.prologue)

    let count = taps * x.c * y.c
    let tiles = divideUp(taps * x.c, sizes.tileM) * divideUp(y.c, sizes.tileN)
    let terms = sizes.tileK * cores.termsPerWord
    let (parts, perPart) = roundsPerPart(
      divideUp(y.pixels, terms), groups: tiles, resultCount: count, longest: max(1, 2048 / terms),
      fill: sizes.fill)
    let isDirect = parts == 1 && f.bias == nil && !f.accumulate
    let target = isDirect ? .value(f.output) : try need(.partial, floats: parts * count)
    launch(
      "mma_filter_gradient",
      [loaded.input, f.gradient] + loaded.arguments + [target]
        + (try ints(x.c, y.c, x.h, x.w, y.h, y.w)) + [.divisor(y.h), .divisor(y.w)]
        + (try ints(y.pixels, taps, g.kernelWidth, g.stride, g.padding, g.dilation, perPart)),
      global: [tiles * sizes.tensorCoreGroup, 1, parts], local: [sizes.tensorCoreGroup, 1, 1],
      variant: "\(cores.buildOptions) -DMMA_FILTER_GRADIENT \(sizes.tensorCoreOptions)" + loaded.options,
      isFixed: true)
    if !isDirect {
      try sumParts(
        target, bias: optional(f.bias), residual: f.accumulate ? .value(f.output) : .none,
        output: .value(f.output), count: count, parts: parts, columns: y.c)
    }
  }

  // MARK: - Parts

  /// How many parts the sums of `rounds` rounds are taken in, and the rounds of each: enough work-groups for the
  /// device (`fill` per compute unit), and no part of more than `longest` rounds, as long as the partial results stay
  /// below 64 MiB.
  private func roundsPerPart(
    _ rounds: Int, groups: Int, resultCount: Int, longest: Int, fill: Int
  ) -> (parts: Int, rounds: Int) {
    let wanted = fill * tuning.limits.computeUnits
    // A part of a few rounds costs more than it brings.
    let toFill = min((wanted + groups - 1) / max(1, groups), rounds / 8)
    let toRound = rounds / longest
    let affordable = (16 << 20) / max(1, resultCount)
    let perPart = max(1, (rounds - 1) / max(1, min(max(toFill, toRound), affordable)) + 1)
    return (max(1, divideUp(rounds, perPart)), perPart)
  }
}
