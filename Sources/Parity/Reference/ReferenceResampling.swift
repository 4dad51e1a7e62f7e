import Foundation
import Kernels

extension Reference {
  /// One axis of a resampling: for each output position, the input positions with their weights.
  private static func axis(
    from source: Int, to target: Int, _ interpolation: Interpolation, alignCorners: Bool
  ) -> [[(position: Int, weight: Double)]] {
    (0..<target).map { i in
      var x =
        alignCorners
        ? (target > 1 ? Double(i) * Double(source - 1) / Double(target - 1) : 0)
        : (Double(i) + 0.5) * Double(source) / Double(target) - 0.5
      if interpolation == .bilinear && !alignCorners { x = max(x, 0) }
      let base = floor(x)
      let t = x - base
      let taps: [(offset: Int, weight: Double)] =
        interpolation == .bilinear
        ? [(0, 1 - t), (1, t)]
        : [(-1, cubic(t + 1)), (0, cubic(t)), (1, cubic(1 - t)), (2, cubic(2 - t))]
      return taps.map { (min(max(Int(base) + $0.offset, 0), source - 1), $0.weight) }
    }
  }

  /// The cubic convolution kernel (Keys 1981) with a = -0.75 at a distance of 0 to 2.
  private static func cubic(_ d: Double) -> Double {
    let a = -0.75
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
  }

  /// Resampling to a height and width.
  public static func resize(
    _ input: ReferenceTensor, height: Int, width: Int, _ interpolation: Interpolation, alignCorners: Bool
  ) -> ReferenceTensor {
    let shape = input.shape
    let rows = axis(from: shape.h, to: height, interpolation, alignCorners: alignCorners)
    let columns = axis(from: shape.w, to: width, interpolation, alignCorners: alignCorners)
    var output = ReferenceTensor(Shape(shape.n, shape.c, height, width))
    for n in 0..<shape.n {
      for c in 0..<shape.c {
        for i in 0..<height {
          for j in 0..<width {
            for row in rows[i] {
              for column in columns[j] {
                output[n, c, i, j] += row.weight * column.weight * input[n, c, row.position, column.position]
              }
            }
          }
        }
      }
    }
    return output
  }

  /// The gradient of bilinear resampling in its input.
  public static func resizeGradient(
    _ outputGradient: ReferenceTensor, inputShape: Shape, alignCorners: Bool
  ) -> ReferenceTensor {
    let shape = outputGradient.shape
    let rows = axis(from: inputShape.h, to: shape.h, .bilinear, alignCorners: alignCorners)
    let columns = axis(from: inputShape.w, to: shape.w, .bilinear, alignCorners: alignCorners)
    var inputGradient = ReferenceTensor(inputShape)
    for n in 0..<shape.n {
      for c in 0..<shape.c {
        for i in 0..<shape.h {
          for j in 0..<shape.w {
            for row in rows[i] {
              for column in columns[j] {
                inputGradient[n, c, row.position, column.position] +=
                  row.weight * column.weight * outputGradient[n, c, i, j]
              }
            }
          }
        }
      }
    }
    return inputGradient
  }

  /// The bilinear value of a plane at the point (x, y), zero outside.
  static func bilinear(_ height: Int, _ width: Int, x: Double, y: Double, _ pixel: (Int, Int) -> Double)
    -> Double
  {
    let (left, top) = (floor(x), floor(y))
    var sum = 0.0
    for (row, rowWeight) in [(Int(top), 1 - (y - top)), (Int(top) + 1, y - top)] {
      for (column, columnWeight) in [(Int(left), 1 - (x - left)), (Int(left) + 1, x - left)] {
        if row >= 0 && row < height && column >= 0 && column < width {
          sum += rowWeight * columnWeight * pixel(row, column)
        }
      }
    }
    return sum
  }

  /// Bilinear sampling at the points of a field (n or 1, 2, h', w'), corners aligned, zero outside; samples whose flag
  /// is zero are copied.
  public static func gridSample(
    _ input: ReferenceTensor, field: ReferenceTensor, flags: ReferenceTensor? = nil
  ) -> ReferenceTensor {
    let shape = input.shape
    var output = ReferenceTensor(Shape(shape.n, shape.c, field.shape.h, field.shape.w))
    for n in 0..<shape.n {
      let source = field.shape.n == 1 ? 0 : n
      for c in 0..<shape.c {
        for i in 0..<output.shape.h {
          for j in 0..<output.shape.w {
            if let flags, flags[n] == 0 {
              output[n, c, i, j] = input[n, c, i, j]
              continue
            }
            output[n, c, i, j] = bilinear(
              shape.h, shape.w, x: (field[source, 0, i, j] + 1) / 2 * Double(shape.w - 1),
              y: (field[source, 1, i, j] + 1) / 2 * Double(shape.h - 1)
            ) { input[n, c, $0, $1] }
          }
        }
      }
    }
    return output
  }
}
