import Foundation
import Kernels

extension Reference {
  /// The uniform number of element e of a sample.
  private static func uniform(_ e: Int, sample: UInt32, epoch: UInt32, purpose: UInt32, seed: UInt64)
    -> Double
  {
    let words = Philox.words(SIMD4(UInt32(e / 4), sample, epoch, purpose), seed: seed)
    return Double(words[e % 4] >> 8) / 16_777_216
  }

  /// Uniform numbers in [0, 1) of the given shape, one stream per sample.
  public static func uniform(
    _ shape: Shape, samples: ReferenceTensor, epoch: UInt32, purpose: UInt32, seed: UInt64
  ) -> ReferenceTensor {
    let size = shape.c * shape.h * shape.w
    return ReferenceTensor(shape).mapped { i, _ in
      let sample = UInt32(bitPattern: Int32(samples[i / size]))
      return uniform(i % size, sample: sample, epoch: epoch, purpose: purpose, seed: seed)
    }
  }

  /// Inverted dropout.
  public static func dropout(
    _ input: ReferenceTensor, samples: ReferenceTensor, rate: Double, epoch: UInt32, purpose: UInt32,
    seed: UInt64
  ) -> ReferenceTensor {
    let draws = uniform(input.shape, samples: samples, epoch: epoch, purpose: purpose, seed: seed)
    return input.mapped { draws[$0] >= rate ? $1 / (1 - rate) : 0 }
  }

  /// Row `rows[i]` of a table, for each i.
  public static func gather(_ table: ReferenceTensor, rows: ReferenceTensor, shape: Shape) -> ReferenceTensor
  {
    let size = shape.count / rows.values.count
    return ReferenceTensor(shape, rows.values.flatMap { table.values[Int($0) * size..<(Int($0) + 1) * size] })
  }

  /// `table[offset + i] = input[i]`; rows past the end are dropped.
  public static func storeRows(_ input: ReferenceTensor, table: ReferenceTensor, offset: Int)
    -> ReferenceTensor
  {
    let columns = input.shape.count / input.shape.n
    var result = table
    for i in input.values.indices where offset * columns + i < table.values.count {
      result[offset * columns + i] = input[i]
    }
    return result
  }

  /// Random crop, rotation and flip.
  public static func augment(
    _ input: ReferenceTensor, samples: ReferenceTensor, _ attributes: Augment, epoch: UInt32, step: UInt32
  ) -> ReferenceTensor {
    func draw(_ counter: SIMD4<UInt32>) -> [Double] {
      let words = Philox.words(counter, seed: attributes.seed)
      return (0..<4).map { Double(words[$0] >> 8) / 16_777_216 }
    }
    let shape = input.shape
    let batch = draw(SIMD4(step, 0, epoch, attributes.purpose))
    let cropped = batch[0] < Double(attributes.cropProbability)
    let rotated = batch[1] < Double(attributes.rotationProbability)
    let (cx, cy) = (Double(shape.w - 1) / 2, Double(shape.h - 1) / 2)
    var output = ReferenceTensor(shape)
    for n in 0..<shape.n {
      let sample = UInt32(bitPattern: Int32(samples[n]))
      let a = draw(SIMD4(0, sample, epoch, attributes.purpose + 1))
      let b = draw(SIMD4(1, sample, epoch, attributes.purpose + 1))
      func shift(_ u: Double) -> Int {
        cropped ? Int(floor(u * Double(2 * attributes.padding + 1))) - attributes.padding : 0
      }
      let (dy, dx) = (shift(a[0]), shift(a[1]))
      let flipped = a[2] < Double(attributes.flipProbability)
      let turned = rotated && b[0] < Double(attributes.sampleRotationProbability)
      let angle = turned ? Double(attributes.degrees) * (2 * a[3] - 1) * Double.pi / 180 : 0
      for c in 0..<shape.c {
        for i in 0..<shape.h {
          for j in 0..<shape.w {
            let u = Double(flipped ? shape.w - 1 - j : j) - cx
            let v = Double(i) - cy
            // The cropped image is as large as the original: what a shift moves out of it does not come back.
            output[n, c, i, j] = bilinear(
              shape.h, shape.w, x: cx + cos(angle) * u - sin(angle) * v,
              y: cy + sin(angle) * u + cos(angle) * v
            ) { row, column in
              let (y, x) = (row + dy, column + dx)
              return y >= 0 && y < shape.h && x >= 0 && x < shape.w ? input[n, c, y, x] : 0
            }
          }
        }
      }
    }
    return output
  }
}
