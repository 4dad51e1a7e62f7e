import Kernels

extension ParityTable {
  /// Batches: rows, gathering, storing, augmentation.
  static let data: [OperatorCase] = {
    var cases = [sliceRows, gatherIntegers, storeFloats, storeIntegers, storeColumns]
    for shape in [Shape(20, 3, 32, 32), Shape(20, 1, 28, 28), Shape(20, 4, 5, 3)] {
      cases.append(gatherImages(shape))
    }
    cases += augmentations
    return cases
  }()

  private static let sliceRows = OperatorCase("sliceRows") { b in
    let (rows, y) = (b.integers(b.draw(50, below: 1000), "rows"), b.outputVector(8, "y", type: .int32))
    let z = b.outputVector(16, "all", type: .int32)
    b.run(RunParameters(rowOffset: 0)) { p in
      p.append(.sliceRows(SliceRows(rows: p.bind(rows), output: p.bind(y))))
      p.append(.storeRows(StoreRows(input: p.bind(y), table: p.bind(z))))
    }
    b.again(RunParameters(rowOffset: 8))
    b.again(RunParameters(rowOffset: 42))
    // Past the end, its last element.
    b.again(RunParameters(rowOffset: 46))
  }

  private static func gatherImages(_ shape: Shape) -> OperatorCase {
    OperatorCase("gatherImages/\(shape)", bound: OperatorCase.elementwiseBound) { b in
      let values = b.draw(shape.count, below: 256).map(Double.init)
      let images = b.tensor("images", values, shape, type: .uint8, role: .image)
      let rows = b.integers([3, 0, shape.n - 1, 3, 11], "rows")
      let y = b.output(Shape(5, shape.c, shape.h, shape.w))
      b.run { p in
        p.append(.gatherImages(GatherImages(images: p.bind(images), rows: p.bind(rows), output: p.bind(y))))
      }
    }
  }

  private static let gatherIntegers = OperatorCase("gatherIntegers") { b in
    let table = b.integers(b.draw(40, below: 43), "table")
    let rows = b.integers([39, 0, 7, 7, 12], "rows")
    let y = b.outputVector(5, "y", type: .int32)
    b.run { p in
      p.append(.gatherIntegers(GatherIntegers(table: p.bind(table), rows: p.bind(rows), output: p.bind(y))))
    }
  }

  /// Stores batches of 8 rows into a table of 20: the last batch is cut off.
  private static func store(_ name: String, _ type: ElementType, columns: Int) -> OperatorCase {
    OperatorCase("storeRows/\(name)", bound: 0) { b in
      let values = type == .int32 ? b.draw(8 * columns, below: 100).map(Double.init) : b.normal(8 * columns)
      let x = b.tensor("x", values, Shape(8, columns), type: type)
      let table = b.tensor(
        "table", Array(repeating: -7, count: 20 * columns), Shape(20, columns), type: type)
      b.run(RunParameters(rowOffset: 0)) { p in
        p.append(.storeRows(StoreRows(input: p.bind(x), table: p.bind(table))))
      }
      b.again(RunParameters(rowOffset: 16))
      b.again(RunParameters(rowOffset: 20))
    }
  }

  private static let storeFloats = store("floats", .float32, columns: 1)
  private static let storeIntegers = store("integers", .int32, columns: 1)
  private static let storeColumns = store("rows of 10", .float32, columns: 10)

  // MARK: - Augmentation

  private static let augmentations: [OperatorCase] = {
    let copied = OperatorCase.elementwiseBound
    // A turned point is off by some 4e-6 of a pixel in single precision.
    let turned = 1e-10
    var cases = [
      augment("none", Shape(3, 3, 8, 8), bound: copied),
      augment("crop", Shape(6, 3, 9, 8), crop: 1, bound: copied),
      augment("flip", Shape(6, 2, 7, 7), flip: 0.5, bound: copied),
      augment("crop and flip", Shape(8, 3, 32, 32), crop: 0.8, flip: 0.5, bound: copied),
      augment("rotate", Shape(6, 3, 16, 16), rotation: 1, sample: 1, bound: turned),
      augment("rotate wide", Shape(4, 1, 9, 14), rotation: 1, sample: 1, degrees: 180, bound: turned),
      augment("everything", Shape(8, 3, 32, 32), crop: 1, rotation: 1, sample: 0.5, flip: 0.5, bound: turned),
    ]
    for step in [1, 2, 3, 4] as [UInt32] {
      cases.append(
        augment(
          "step \(step)", Shape(4, 3, 12, 12), crop: 0.5, rotation: 0.5, sample: 0.5, flip: 0.5, step: step,
          bound: turned))
    }
    return cases
  }()

  private static func augment(
    _ name: String, _ shape: Shape, crop: Float = 0, rotation: Float = 0, sample: Float = 0, flip: Float = 0,
    degrees: Float = 10, step: UInt32 = 1, bound: Double
  ) -> OperatorCase {
    OperatorCase("augment/\(name), \(shape)", bound: bound) { b in
      let x = b.pixels(shape)
      let samples = b.integers((0..<shape.n).map { $0 * 31 + 5 }, "samples")
      let y = b.output(shape)
      b.run(RunParameters(epoch: 4, step: step)) { p in
        p.append(
          .augment(
            Augment(
              input: p.bind(x), samples: p.bind(samples), output: p.bind(y), padding: 5,
              cropProbability: crop,
              degrees: degrees, rotationProbability: rotation, sampleRotationProbability: sample,
              flipProbability: flip, seed: 77, purpose: 20)))
      }
    }
  }
}
