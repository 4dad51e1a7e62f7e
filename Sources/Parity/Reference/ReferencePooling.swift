import Kernels

extension Reference {
  /// Calls `visit` with the position of every window's output and of the input elements that it covers, in row-major
  /// order, padding left out.
  private static func forEachWindow(
    _ input: Shape, _ geometry: PoolGeometry, _ visit: (_ output: Int, _ inputs: [Int]) -> Void
  ) {
    let output = geometry.output(input)
    for plane in 0..<input.n * input.c {
      for p in 0..<output.h {
        for q in 0..<output.w {
          var inputs: [Int] = []
          for r in 0..<geometry.kernelHeight {
            for s in 0..<geometry.kernelWidth {
              let row = p * geometry.stride - geometry.padding + r
              let column = q * geometry.stride - geometry.padding + s
              if row >= 0 && row < input.h && column >= 0 && column < input.w {
                inputs.append((plane * input.h + row) * input.w + column)
              }
            }
          }
          visit((plane * output.h + p) * output.w + q, inputs)
        }
      }
    }
  }

  /// The first largest of the elements at `positions`.
  private static func largest(_ tensor: ReferenceTensor, _ positions: [Int]) -> Int {
    var best = positions[0]
    for position in positions where tensor[position] > tensor[best] { best = position }
    return best
  }

  /// Pooling.
  public static func pool(_ input: ReferenceTensor, _ geometry: PoolGeometry) -> ReferenceTensor {
    var output = ReferenceTensor(geometry.output(input.shape))
    let area = Double(geometry.kernelHeight * geometry.kernelWidth)
    forEachWindow(input.shape, geometry) { position, inputs in
      switch geometry.kind {
      case .maximum: output[position] = input[largest(input, inputs)]
      case .average: output[position] = inputs.reduce(0) { $0 + input[$1] } / area
      }
    }
    return output
  }

  /// The gradient of pooling in its input.
  public static func poolGradient(
    _ outputGradient: ReferenceTensor, input: ReferenceTensor?, inputShape: Shape, _ geometry: PoolGeometry
  ) -> ReferenceTensor {
    var inputGradient = ReferenceTensor(inputShape)
    let area = Double(geometry.kernelHeight * geometry.kernelWidth)
    forEachWindow(inputShape, geometry) { position, inputs in
      if geometry.kind == .maximum, let input {
        inputGradient[largest(input, inputs)] += outputGradient[position]
      } else {
        for i in inputs { inputGradient[i] += outputGradient[position] / area }
      }
    }
    return inputGradient
  }

  /// The smallest non-zero distance between the two largest elements of any window of a maximum.
  static func smallestLead(_ input: ReferenceTensor, _ geometry: PoolGeometry) -> Double {
    var smallest = Double.infinity
    forEachWindow(input.shape, geometry) { _, inputs in
      let top = input[largest(input, inputs)]
      for i in inputs where input[i] < top { smallest = min(smallest, top - input[i]) }
    }
    return smallest
  }
}
