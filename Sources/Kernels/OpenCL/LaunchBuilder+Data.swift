extension LaunchBuilder {
  mutating func sliceRows(_ d: SliceRows) throws {
    let count = shape(d.output).count
    elementwise(
      "slice_rows",
      [.value(d.rows), .value(d.output)] + (try ints(shape(d.rows).count, count)) + [.run(.rowOffset)],
      count: count)
  }

  mutating func gatherImages(_ d: GatherImages) throws {
    let (images, x) = (shape(d.images), shape(d.output))
    let perSample = x.c * x.h * x.w
    grid(
      "gather_images",
      [.value(d.images), .value(d.rows), .value(d.output)] + (try ints(images.n, x.n, perSample)),
      columns: perSample, rows: x.n)
  }

  mutating func gatherIntegers(_ d: GatherIntegers) throws {
    let count = shape(d.output).count
    elementwise(
      "gather_integers",
      [.value(d.table), .value(d.rows), .value(d.output)] + (try ints(shape(d.table).count, count)),
      count: count)
  }

  mutating func storeRows(_ d: StoreRows) throws {
    let (input, table) = (shape(d.input), shape(d.table))
    let columns = input.c * input.h * input.w
    grid(
      "store_rows",
      [.value(d.input), .value(d.table)] + (try ints(table.n, input.n, columns)) + [.run(.rowOffset)],
      columns: columns, rows: input.n)
  }

  mutating func augment(_ d: Augment) throws {
    let x = shape(d.output)
    grid(
      "augment",
      [.value(d.input), .value(d.samples), .value(d.output)] + (try ints(x.n, x.c, x.h, x.w, d.padding))
        + [
          .float(d.cropProbability), .float(d.degrees), .float(d.rotationProbability),
          .float(d.sampleRotationProbability), .float(d.flipProbability), .seed(d.seed), .uint(d.purpose),
          .run(.epoch), .run(.step),
        ],
      columns: x.h * x.w, rows: x.n)
  }
}
