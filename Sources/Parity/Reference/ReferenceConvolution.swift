import Kernels

extension Reference {
  /// Calls `visit(input, filter, output)` with the row-major positions of every product of a convolution: all three
  /// passes consist of the same products.
  @inline(__always)
  private static func forEachProduct(
    input: Shape, filter: Shape, output: Shape, _ geometry: ConvolutionGeometry,
    _ visit: (_ input: Int, _ filter: Int, _ output: Int) -> Void
  ) {
    let channelsPerGroup = filter.n / geometry.groups
    for n in 0..<output.n {
      for k in 0..<output.c {
        let firstChannel = k / channelsPerGroup * filter.c
        for c in 0..<filter.c {
          let inputPlane = (n * input.c + firstChannel + c) * input.h
          for r in 0..<filter.h {
            for s in 0..<filter.w {
              let tap = ((k * filter.c + c) * filter.h + r) * filter.w + s
              for p in 0..<output.h {
                let row = p * geometry.stride - geometry.padding + r * geometry.dilation
                if row < 0 || row >= input.h { continue }
                let outputRow = ((n * output.c + k) * output.h + p) * output.w
                var column = s * geometry.dilation - geometry.padding
                for q in 0..<output.w {
                  if column >= 0 && column < input.w {
                    visit((inputPlane + row) * input.w + column, tap, outputRow + q)
                  }
                  column += geometry.stride
                }
              }
            }
          }
        }
      }
    }
  }

  /// Convolution of an already transformed input.
  public static func convolution(
    _ input: ReferenceTensor, filter: ReferenceTensor, bias: ReferenceTensor? = nil,
    residual: ReferenceTensor? = nil, _ geometry: ConvolutionGeometry
  ) -> ReferenceTensor {
    var output = ReferenceTensor(geometry.output(input.shape, channels: filter.shape.n))
    let outputShape = output.shape
    output.values.withUnsafeMutableBufferPointer { y in
      input.values.withUnsafeBufferPointer { x in
        filter.values.withUnsafeBufferPointer { w in
          forEachProduct(input: input.shape, filter: filter.shape, output: outputShape, geometry) {
            y[$2] += x[$0] * w[$1]
          }
        }
      }
    }
    if let bias { output = output.mapped { $1 + bias[output.channel($0)] } }
    return output.plus(residual)
  }

  /// The gradient of a convolution in its input.
  public static func convolutionInputGradient(
    _ outputGradient: ReferenceTensor, filter: ReferenceTensor, inputShape: Shape,
    _ geometry: ConvolutionGeometry
  ) -> ReferenceTensor {
    var inputGradient = ReferenceTensor(inputShape)
    inputGradient.values.withUnsafeMutableBufferPointer { dx in
      outputGradient.values.withUnsafeBufferPointer { dy in
        filter.values.withUnsafeBufferPointer { w in
          forEachProduct(input: inputShape, filter: filter.shape, output: outputGradient.shape, geometry) {
            dx[$0] += dy[$2] * w[$1]
          }
        }
      }
    }
    return inputGradient
  }

  /// The gradient of a convolution in its filter, from its already transformed input.
  public static func convolutionFilterGradient(
    _ input: ReferenceTensor, outputGradient: ReferenceTensor, filterShape: Shape,
    _ geometry: ConvolutionGeometry
  ) -> ReferenceTensor {
    var filterGradient = ReferenceTensor(filterShape)
    filterGradient.values.withUnsafeMutableBufferPointer { dw in
      outputGradient.values.withUnsafeBufferPointer { dy in
        input.values.withUnsafeBufferPointer { x in
          forEachProduct(input: input.shape, filter: filterShape, output: outputGradient.shape, geometry) {
            dw[$1] += dy[$2] * x[$0]
          }
        }
      }
    }
    return filterGradient
  }

  /// The sum over samples and pixels, per channel.
  public static func channelSum(_ input: ReferenceTensor) -> ReferenceTensor {
    var sums = ReferenceTensor(.vector(input.shape.c))
    for i in input.values.indices { sums[input.channel(i)] += input[i] }
    return sums
  }

  /// `op(a) * op(b) + bias` of matrices (rows, columns, 1, 1).
  public static func matrixProduct(
    _ a: ReferenceTensor, _ b: ReferenceTensor, transposeA: Bool = false, transposeB: Bool = false,
    bias: ReferenceTensor? = nil
  ) -> ReferenceTensor {
    let rows = transposeA ? a.shape.c : a.shape.n
    let inner = transposeA ? a.shape.n : a.shape.c
    let columns = transposeB ? b.shape.n : b.shape.c
    var product = ReferenceTensor(Shape(rows, columns))
    for i in 0..<rows {
      for j in 0..<columns {
        var sum = bias?[j] ?? 0
        for k in 0..<inner {
          sum += (transposeA ? a[k, i, 0, 0] : a[i, k, 0, 0]) * (transposeB ? b[j, k, 0, 0] : b[k, j, 0, 0])
        }
        product[i, j, 0, 0] = sum
      }
    }
    return product
  }
}
