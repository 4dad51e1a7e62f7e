extension LaunchBuilder {
  // MARK: - Pooling

  mutating func pool(_ d: Pool) throws {
    let (x, y, g) = (shape(d.input), shape(d.output), d.geometry)
    launchGrid(
      "pool",
      [.value(d.input), .value(d.output)]
        + (try ints(y.pixels, x.c, x.h, x.w, y.h, y.w, g.kernelHeight, g.kernelWidth, g.stride, g.padding))
        + [flag(g.kind == .maximum)],
      columns: y.c, rows: y.pixels)
  }

  mutating func poolGradient(_ d: PoolGradient) throws {
    let (dy, dx, g) = (shape(d.outputGradient), shape(d.inputGradient), d.geometry)
    try d.checkInput()
    launchGrid(
      "pool_gradient",
      [.value(d.outputGradient), optional(d.input), .value(d.inputGradient)]
        + (try ints(
          dx.pixels, dx.c, dx.h, dx.w, dy.h, dy.w, g.kernelHeight, g.kernelWidth, g.stride, g.padding))
        + [flag(g.kind == .maximum), flag(d.accumulate)],
      columns: dx.c, rows: dx.pixels)
  }

  // MARK: - Resampling

  mutating func resize(_ d: Resize) throws {
    let (x, y) = (shape(d.input), shape(d.output))
    launchGrid(
      "resize",
      [.value(d.input), .value(d.output)] + (try ints(y.pixels, x.c, x.h, x.w, y.h, y.w))
        + [flag(d.alignCorners), flag(d.interpolation == .bicubic)],
      columns: y.c, rows: y.pixels)
  }

  mutating func resizeGradient(_ d: ResizeGradient) throws {
    let (dy, dx) = (shape(d.outputGradient), shape(d.inputGradient))
    launchGrid(
      "resize_gradient",
      [.value(d.outputGradient), .value(d.inputGradient)]
        + (try ints(dx.pixels, dx.c, dx.h, dx.w, dy.h, dy.w))
        + [flag(d.alignCorners)],
      columns: dx.c, rows: dx.pixels)
  }

  mutating func gridSample(_ d: GridSample) throws {
    let (x, y, field) = (shape(d.input), shape(d.output), shape(d.field))
    try d.checkSizes(input: x, output: y)
    let pixels = y.h * y.w
    grid(
      "grid_sample",
      [.value(d.input), .value(d.field), optional(d.flags), .value(d.output)]
        + (try ints(y.n, x.c, x.h, x.w, pixels, field.n == 1 ? 0 : pixels * 2)),
      columns: pixels, rows: y.n)
  }

  // MARK: - Elementwise

  mutating func add(_ d: Add) throws {
    let count = shape(d.output).count
    elementwise("add", [.value(d.a), .value(d.b), .value(d.output), try int(count)], count: count)
  }

  mutating func multiply(_ d: Multiply) throws {
    let count = shape(d.output).count
    elementwise("multiply", [.value(d.a), .value(d.b), .value(d.output), try int(count)], count: count)
  }

  mutating func fill(_ d: Fill) throws {
    let count = shape(d.output).count
    let bits: UInt32
    switch program[d.output].type {
    case .float32: bits = d.value.bitPattern
    case .int32: bits = UInt32(bitPattern: Int32(exactly: d.value.rounded(.towardZero)) ?? 0)
    case .uint8: throw PBEError(.internal, "fill is for float32 and int32")
    }
    elementwise("fill", [.value(d.output), .uint(bits), try int(count)], count: count)
  }

  mutating func copy(_ d: Copy) throws {
    let count = shape(d.output).count
    elementwise(
      program[d.output].type == .uint8 ? "copy_bytes" : "copy_words",
      [.value(d.input), .value(d.output), try int(count)], count: count)
  }

  // MARK: - Random numbers

  mutating func dropout(_ d: Dropout) throws {
    let x = shape(d.output)
    grid(
      "dropout",
      [.value(d.input), .value(d.samples), .value(d.output)] + (try ints(x.n, x.c, x.h * x.w))
        + [.float(d.rate), .seed(d.seed), .uint(d.purpose), .run(.epoch)],
      columns: (x.c * x.h * x.w + 3) / 4, rows: x.n)
  }

  mutating func randomUniform(_ d: RandomUniform) throws {
    let x = shape(d.output)
    grid(
      "random_uniform",
      [.value(d.samples), .value(d.output)] + (try ints(x.n, x.c, x.h * x.w))
        + [.float(d.low), .float(d.high), .seed(d.seed), .uint(d.purpose), .run(.epoch)],
      columns: (x.c * x.h * x.w + 3) / 4, rows: x.n)
  }
}
