/// How the 4x4 tiles of a 3x3 convolution lie: of its output, which for an input gradient is the input's gradient.
struct WinogradTiles {
  /// Zeros around the image.
  let padding: Int

  /// `nil` unless the kernel is 3x3 of stride 1.
  init?(_ c: DenseConvolution) {
    guard (c.kernelHeight, c.kernelWidth, c.stride, c.dilation, c.divisor) == (3, 3, 1, 1, 1),
      c.padY == c.padX,
      (0...2).contains(c.padY)
    else { return nil }
    padding = c.padY
  }

  /// `nil` unless the kernel is 3x3 of stride 1.
  init?(_ g: ConvolutionGeometry) {
    guard (g.kernelHeight, g.kernelWidth, g.stride, g.dilation, g.groups) == (3, 3, 1, 1, 1),
      (0...2).contains(g.padding)
    else { return nil }
    padding = g.padding
  }
}

extension LaunchBuilder {
  // MARK: - Operators

  /// A 3x3 convolution or its input gradient: transforms, 36 products, and the transform back, for as many images at a
  /// time as the scratch memory holds.
  mutating func winogradConvolution(_ c: DenseConvolution, _ parameters: ProductParameters) throws {
    guard let tiles = WinogradTiles(c) else { return }
    let (x, y) = (c.inputShape, c.outputShape)
    let plan = try imagesAtATime(inputs: x.c, output: y, parameters)
    let filter = try need(.filter, floats: 36 * x.c * y.c)
    launch(
      "winograd_filter", [.value(c.filter), filter] + (try ints(x.c, y.c)) + [flag(c.transposed)],
      global: [y.c, x.c], local: [16, 8], variant: "-DCOMMON=winograd")

    let parameters = parameters.fitted(columns: y.c)
    let loaded = try loadForGroup(c.input, shape: x, prologue: c.prologue)
    for first in stride(from: 0, to: y.n, by: plan.images) {
      let images = min(plan.images, y.n - first)
      let count = images * plan.tilesPerImage
      let input = try winogradInput(
        loaded, shape: x, padding: tiles.padding, first: first, images: images,
        output: y,
        parameters)
      let products = try need(.winogradOutput, floats: 36 * count * y.c)
      try launchTiled(
        TiledProduct(
          left: LoadedInput(input: input), right: filter, isPlain: true, image: Shape(count, x.c),
          output: Shape(count, y.c), batches: 36),
        parameters, parts: 1, output: products)
      try transform(
        "winograd_output",
        [products, optional(c.bias), optional(c.residual), .value(c.output)]
          + (try sizes(first, images, channels: y.c, image: y, output: y)),
        channels: y.c, tiles: count, parameters)
    }
  }

  /// A 3x3 filter gradient: sums over tiles of 36 products of the transformed input and output gradient.
  mutating func winogradFilterGradient(_ f: FilterParts, _ parameters: ProductParameters) throws {
    guard let tiles = WinogradTiles(f.geometry) else { return }
    let (x, y) = (f.inputShape, f.gradientShape)
    let plan = try imagesAtATime(inputs: x.c, output: y, parameters)
    let parameters = parameters.fitted(columns: y.c)
    func product(_ count: Int, _ left: LaunchPlan.Argument, _ right: LaunchPlan.Argument) -> TiledProduct {
      TiledProduct(
        left: LoadedInput(input: left), right: right, isFilter: true, isPlain: true, image: Shape(count, x.c),
        output: Shape(count, y.c), batches: 36)
    }
    let parts = partCount(product(plan.images * plan.tilesPerImage, .none, .none), parameters, longest: 256)
    let count = 36 * x.c * y.c
    let sums = try need(.partial, floats: parts * count)
    let loaded = try loadForGroup(f.input, shape: x, prologue: f.prologue)
    for first in stride(from: 0, to: y.n, by: plan.images) {
      let images = min(plan.images, y.n - first)
      let tileCount = images * plan.tilesPerImage
      let input = try winogradInput(
        loaded, shape: x, padding: tiles.padding, first: first, images: images,
        output: y,
        parameters)
      let gradient = try need(.winogradOutput, floats: 36 * tileCount * y.c)
      try transform(
        "winograd_output_gradient",
        [f.gradient, gradient] + (try sizes(first, images, channels: y.c, image: y, output: y)),
        channels: y.c, tiles: tileCount, parameters)
      // Later groups of images add to the sums of the first.
      try launchTiled(
        product(tileCount, input, gradient), parameters, parts: parts, residual: first == 0 ? .none : sums,
        output: sums)
    }
    if parts > 1 { try sumParts(sums, output: sums, count: count, parts: parts, columns: 1) }
    launch(
      "winograd_filter_gradient", [sums, .value(f.output), try int(x.c * y.c)], global: [x.c * y.c],
      local: [64],
      variant: "-DCOMMON=winograd")
  }

  // MARK: - Kernels

  private func tilesPerImage(_ output: Shape) -> Int { (output.h + 3) / 4 * ((output.w + 3) / 4) }

  /// How many images are transformed at a time.
  private func imagesAtATime(
    inputs: Int, output: Shape, _ parameters: ProductParameters
  ) throws -> (images: Int, tilesPerImage: Int) {
    let tiles = tilesPerImage(output)
    let both = 36 * 4 * tiles * (inputs + output.c)
    let larger = 36 * 4 * tiles * max(inputs, output.c)
    let images = min(
      (parameters.scratch << 20) / max(1, both), tuning.limits.largestAllocation / max(1, larger), output.n)
    return (max(1, images), tiles)
  }

  private mutating func winogradInput(
    _ loaded: LoadedInput, shape: Shape, padding: Int, first: Int, images: Int, output: Shape,
    _ parameters: ProductParameters
  ) throws -> LaunchPlan.Argument {
    let tiles = images * tilesPerImage(output)
    let transformed = try need(.winogradInput, floats: 36 * tiles * shape.c)
    try transform(
      "winograd_input",
      [loaded.input] + loaded.arguments + [transformed]
        + (try sizes(first, images, channels: shape.c, image: shape, output: output)) + [try int(padding)],
      channels: shape.c, tiles: tiles, parameters, options: " -DWINOGRAD_INPUT" + loaded.options)
    return transformed
  }

  /// The sizes that every transform takes.
  private func sizes(
    _ first: Int, _ images: Int, channels: Int, image: Shape, output: Shape
  ) throws -> [LaunchPlan.Argument] {
    try ints(first, images, channels, image.h, image.w, (output.h + 3) / 4, (output.w + 3) / 4)
  }

  private mutating func transform(
    _ kernel: String, _ arguments: [LaunchPlan.Argument], channels: Int, tiles: Int,
    _ parameters: ProductParameters, options: String = ""
  ) throws {
    let lanes = channels % parameters.lanes == 0 ? parameters.lanes : 1
    let across = powerOfTwo(channels / lanes, limit: 64)
    launch(
      kernel, arguments, global: [channels / lanes, tiles], local: [across, 128 / across],
      variant: "-DCOMMON=winograd -DVW=\(lanes)" + options)
  }
}
