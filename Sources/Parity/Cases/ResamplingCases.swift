import Kernels

extension ParityTable {
  /// Single precision places a point of an image of 32 pixels to 2e-6 of a pixel; squared, with the image's slope.
  private static let bound = 1e-10

  /// Resizing and warping.
  static let resampling: [OperatorCase] = {
    var cases: [OperatorCase] = []
    for (shape, height, width) in [
      (Shape(2, 3, 7, 7), 14, 14), (Shape(1, 2, 4, 4), 32, 32), (Shape(2, 5, 8, 6), 3, 9),
      (Shape(1, 3, 1, 1), 4, 4),
      (Shape(2, 2, 5, 5), 1, 1), (Shape(1, 3, 6, 6), 6, 6), (Shape(1, 16, 4, 4), 8, 8),
    ] {
      for alignCorners in [false, true] {
        for interpolation in [Interpolation.bilinear, .bicubic] {
          cases.append(resize(shape, height, width, interpolation, alignCorners))
        }
        cases.append(resizeGradient(shape, height, width, alignCorners))
      }
    }
    for (shape, fields, flags) in [
      (Shape(3, 3, 32, 32), 1, false), (Shape(3, 3, 32, 32), 1, true), (Shape(4, 1, 9, 13), 4, false),
      (Shape(4, 5, 9, 13), 4, true), (Shape(1, 3, 1, 1), 1, false),
    ] {
      cases.append(gridSample(shape, fields, flags))
    }
    for (shape, height, width) in [
      (Shape(2, 3, 9, 13), 4, 5), (Shape(2, 2, 4, 5), 9, 13), (Shape(1, 3, 6, 6), 1, 1),
    ] {
      cases.append(gridSample(shape, shape.n, false, to: (height, width)))
    }
    return cases
  }()

  private static func resize(
    _ shape: Shape, _ height: Int, _ width: Int, _ interpolation: Interpolation, _ alignCorners: Bool
  ) -> OperatorCase {
    OperatorCase(
      "resize/\(shape) to \(height)x\(width), \(interpolation)\(alignCorners ? " corners" : "")", bound: bound
    ) { b in
      let (x, y) = (b.image(shape), b.output(Shape(shape.n, shape.c, height, width)))
      b.run { p in
        p.append(
          .resize(
            Resize(
              input: p.bind(x), output: p.bind(y), interpolation: interpolation, alignCorners: alignCorners)))
      }
    }
  }

  private static func resizeGradient(
    _ shape: Shape, _ height: Int, _ width: Int, _ alignCorners: Bool
  ) -> OperatorCase {
    OperatorCase(
      "resizeGradient/\(shape) from \(height)x\(width)\(alignCorners ? " corners" : "")", bound: bound
    ) { b in
      let (dy, dx) = (b.image(Shape(shape.n, shape.c, height, width), "dy"), b.output(shape, "dx"))
      b.run { p in
        p.append(
          .resizeGradient(
            ResizeGradient(outputGradient: p.bind(dy), inputGradient: p.bind(dx), alignCorners: alignCorners))
        )
      }
    }
  }

  private static func gridSample(
    _ shape: Shape, _ fields: Int, _ flagged: Bool, to size: (h: Int, w: Int)? = nil
  ) -> OperatorCase {
    let extras = (size.map { " to \($0.h)x\($0.w)" } ?? "") + (flagged ? ", flags" : "")
    return OperatorCase("gridSample/\(shape), \(fields) fields\(extras)", bound: bound) { b in
      let x = b.pixels(shape)
      let fieldShape = Shape(fields, 2, size?.h ?? shape.h, size?.w ?? shape.w)
      // Points inside, at the corners and well outside.
      var points = b.normal(fieldShape.count, scale: 0.7)
      for i in stride(from: 0, to: points.count, by: 11) { points[i] = i % 2 == 0 ? 1 : -1 }
      let field = b.tensor("field", points, fieldShape, role: .image)
      let y = b.output(Shape(shape.n, shape.c, fieldShape.h, fieldShape.w))
      let flags = flagged ? b.integers((0..<shape.n).map { $0 % 3 }, "flags") : nil
      b.run { p in
        p.append(
          .gridSample(
            GridSample(
              input: p.bind(x), field: p.bind(field), output: p.bind(y), flags: flags.map { p.bind($0) })))
      }
    }
  }
}
