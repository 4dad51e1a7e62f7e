import Kernels

extension Reference {
  /// The pattern that each sample takes; `nil` for none.
  private static func patterns(_ samples: Int, _ flags: ReferenceTensor?, of count: Int) -> [Int?] {
    (0..<samples).map { sample in
      let flag = flags.map { Int($0[sample]) } ?? 1
      if flag == 0 { return nil }
      let shifted = sample - (flag - 1)
      return ((shifted % count) + count) % count
    }
  }

  /// The mask's value at element `i` of a sample of shape `shape`.
  private static func weight(_ mask: ReferenceTensor, _ which: Int, _ i: Int, _ shape: Shape) -> Double {
    let area = shape.h * shape.w
    let channel = mask.shape.c == 1 ? 0 : i / area
    return mask[(which * mask.shape.c + channel) * area + i % area]
  }

  /// A trigger on flagged samples.
  public static func applyTrigger(
    _ input: ReferenceTensor, pattern: ReferenceTensor, mask: ReferenceTensor, flags: ReferenceTensor?,
    _ kind: ApplyTrigger.Kind, clip: Bool
  ) -> ReferenceTensor {
    let size = input.values.count / input.shape.n
    let taken = patterns(input.shape.n, flags, of: pattern.shape.n)
    return input.mapped { i, x in
      guard let which = taken[i / size] else { return x }
      let p = pattern[which * size + i % size]
      let result = x + weight(mask, which, i % size, input.shape) * (kind == .blend ? p - x : p)
      return clip ? min(max(result, 0), 1) : result
    }
  }

  /// The gradient of ``applyTrigger(_:pattern:mask:flags:_:clip:)`` in the patterns.
  public static func applyTriggerGradient(
    _ outputGradient: ReferenceTensor, mask: ReferenceTensor, flags: ReferenceTensor?
  ) -> ReferenceTensor {
    var shape = outputGradient.shape
    let size = outputGradient.values.count / shape.n
    let taken = patterns(shape.n, flags, of: mask.shape.n)
    shape.n = mask.shape.n
    var gradient = ReferenceTensor(shape)
    for (i, dy) in outputGradient.values.enumerated() {
      guard let which = taken[i / size] else { continue }
      gradient[which * size + i % size] += dy * weight(mask, which, i % size, shape)
    }
    return gradient
  }

  /// How far each sample is from the next.
  public static func neighbourDistances(_ input: ReferenceTensor) -> [Double] {
    let size = input.values.count / input.shape.n
    return (0..<input.shape.n).map { n in
      let next = (n + 1) % input.shape.n
      let squares = (0..<size).map { i in
        let difference = input[n * size + i] - input[next * size + i]
        return difference * difference
      }
      return (squares.reduce(0, +) / Double(size)).squareRoot()
    }
  }

  /// The diversity loss and its gradient in the outputs, pair by pair.
  public static func diversityLoss(
    _ outputs: ReferenceTensor, inputDistances: ReferenceTensor, outputDistances: ReferenceTensor,
    gradientScale: Double
  ) -> (loss: Double, gradient: ReferenceTensor) {
    let count = outputs.shape.n
    let size = outputs.values.count / count
    var gradient = ReferenceTensor(outputs.shape)
    var loss = 0.0
    for n in 0..<count {
      let (distance, next) = (outputDistances[n], (n + 1) % count)
      let padded = distance + 1e-7
      loss += inputDistances[n] / padded / Double(count)
      guard distance > 0 else { continue }
      let slope = -gradientScale / Double(count) * inputDistances[n] / (padded * padded)
      for i in 0..<size {
        let difference = outputs[n * size + i] - outputs[next * size + i]
        gradient[n * size + i] += slope * difference / (Double(size) * distance)
        gradient[next * size + i] -= slope * difference / (Double(size) * distance)
      }
    }
    return (loss, gradient)
  }
}
