import Foundation
import Kernels

extension Reference {
  /// The position of the first largest of a row's elements.
  private static func firstLargest(_ row: ArraySlice<Double>) -> Int {
    var best = row.startIndex
    for i in row.indices where row[i] > row[best] { best = i }
    return best - row.startIndex
  }

  private static func rows(_ tensor: ReferenceTensor) -> [ArraySlice<Double>] {
    let columns = tensor.shape.c
    return (0..<tensor.shape.n).map { tensor.values[$0 * columns..<($0 + 1) * columns] }
  }

  /// The sum of the rows' losses, the number of right answers, and `gradientScale * (softmax - target)`, where the
  /// target is `(1 - smoothing) * onehot + smoothing / classes`.
  public static func softmaxCrossEntropy(
    _ logits: ReferenceTensor, labels: ReferenceTensor, gradientScale: Double, smoothing: Double = 0
  ) -> (loss: Double, correct: Double, gradient: ReferenceTensor) {
    var (loss, correct) = (0.0, 0.0)
    var gradient: [Double] = []
    for (n, row) in rows(logits).enumerated() {
      let label = Int(labels[n])
      let largest = row.max() ?? 0
      let sum = row.reduce(0) { $0 + exp($1 - largest) }
      correct += firstLargest(row) == label ? 1 : 0
      for (j, z) in row.enumerated() {
        let target = (j == label ? 1 - smoothing : 0) + smoothing / Double(row.count)
        loss += target * (log(sum) + largest - z)
        gradient.append(gradientScale * (exp(z - largest) / sum - target))
      }
    }
    return (loss, correct, ReferenceTensor(logits.shape, gradient))
  }

  /// The losses of a student, summed; how many rows' first largest logit is the label's; and `gradientScale` times the
  /// gradient in the logits.
  public static func distillation(
    _ logits: ReferenceTensor, teacher: ReferenceTensor, labels: ReferenceTensor, gradientScale: Double,
    temperature: Double, labelShare: Double
  ) -> (loss: Double, correct: Double, gradient: ReferenceTensor) {
    func logSoftmax(_ row: [Double]) -> [Double] {
      let largest = row.max() ?? 0
      let sum = row.reduce(0) { $0 + exp($1 - largest) }
      return row.map { $0 - largest - log(sum) }
    }
    let hard = softmaxCrossEntropy(logits, labels: labels, gradientScale: gradientScale)
    var loss = labelShare * hard.loss
    var gradient: [Double] = []
    for (row, taught) in zip(rows(logits), rows(teacher)) {
      let p = logSoftmax(row.map { $0 / temperature })
      let q = logSoftmax(taught.map { $0 / temperature })
      for (p, q) in zip(p, q) {
        loss += (1 - labelShare) * temperature * temperature * exp(q) * (q - p)
        gradient.append(gradientScale * (1 - labelShare) * temperature * (exp(p) - exp(q)))
      }
    }
    let sum = zip(gradient, hard.gradient.values).map { $0 + labelShare * $1 }
    return (loss, hard.correct, ReferenceTensor(logits.shape, sum))
  }

  /// The first largest element of each row.
  public static func argMax(_ input: ReferenceTensor) -> [Double] {
    rows(input).map { Double(firstLargest($0)) }
  }

  /// The smallest non-zero distance of a row's largest element from another.
  static func smallestLead(_ input: ReferenceTensor) -> Double {
    rows(input).flatMap { row in row.map { (row.max() ?? 0) - $0 }.filter { $0 > 0 } }.min() ?? .infinity
  }

  /// 0.5 + 0.5 * cosine of each pair of rows; 0 where one is zero.
  public static func agreement(_ a: ReferenceTensor, _ b: ReferenceTensor) -> [Double] {
    zip(rows(a), rows(b)).map { x, y in
      let product = zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
      let norms = (x.reduce(0) { $0 + $1 * $1 } * y.reduce(0) { $0 + $1 * $1 }).squareRoot()
      return norms == 0 ? 0 : 0.5 + 0.5 * product / norms
    }
  }

  /// Stochastic gradient descent: the new parameters and velocity.
  public static func sgd(
    _ parameters: ReferenceTensor, gradients: ReferenceTensor, velocity: ReferenceTensor,
    learningRate: Double,
    momentum: Double, weightDecay: Double, nesterov: Bool
  ) -> (parameters: ReferenceTensor, velocity: ReferenceTensor) {
    let g = gradients.mapped { $1 + weightDecay * parameters[$0] }
    let v = velocity.mapped { momentum * $1 + g[$0] }
    return (parameters.mapped { $1 - learningRate * (nesterov ? g[$0] + momentum * v[$0] : v[$0]) }, v)
  }

  /// Adam: the new parameters and moments.
  public static func adam(
    _ parameters: ReferenceTensor, gradients: ReferenceTensor, first: ReferenceTensor,
    second: ReferenceTensor,
    _ attributes: Adam, learningRate: Double, step: Int
  ) -> (parameters: ReferenceTensor, first: ReferenceTensor, second: ReferenceTensor) {
    let (beta1, beta2) = (Double(attributes.beta1), Double(attributes.beta2))
    let g = gradients.mapped { $1 + Double(attributes.weightDecay) * parameters[$0] }
    let m = first.mapped { beta1 * $1 + (1 - beta1) * g[$0] }
    let v = second.mapped { beta2 * $1 + (1 - beta2) * g[$0] * g[$0] }
    let (correction1, correction2) = (1 - pow(beta1, Double(step)), 1 - pow(beta2, Double(step)))
    let moved = parameters.mapped { i, p in
      let root = (v[i] / correction2).squareRoot() + Double(attributes.epsilon)
      return p - learningRate * (m[i] / correction1) / root
    }
    return (moved, m, v)
  }

  /// The ascent of sharpness-aware minimisation: the perturbed parameters.
  public static func perturbWeights(
    _ parameters: ReferenceTensor, gradients: ReferenceTensor, radius: Double, adaptive: Bool
  ) -> ReferenceTensor {
    let scales = parameters.mapped { adaptive ? abs($1) : 1 }
    let scaled = gradients.mapped { scales[$0] * $1 }
    let norm = scaled.values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return parameters.mapped { $1 + radius * scales[$0] * scaled[$0] / (norm + 1e-12) }
  }

  /// Gradients that are no longer than `length` all together.
  public static func clipGradients(_ gradients: ReferenceTensor, length: Double) -> ReferenceTensor {
    let norm = gradients.values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return gradients.mapped { norm > length ? $1 * length / norm : $1 }
  }

  /// One step of projected gradient ascent.
  public static func pgdStep(
    _ adversarial: ReferenceTensor, origin: ReferenceTensor, gradient: ReferenceTensor, stepSize: Double,
    epsilon: Double, clip: Bool, norm: PerturbationNorm = .infinity
  ) -> ReferenceTensor {
    let projected: ReferenceTensor
    switch norm {
    case .infinity:
      projected = adversarial.mapped { i, z in
        let sign = gradient[i] > 0 ? 1.0 : gradient[i] < 0 ? -1 : 0
        return min(max(z + stepSize * sign, origin[i] - epsilon), origin[i] + epsilon)
      }
    case .two:
      let size = adversarial.shape.count / adversarial.shape.n
      func lengths(_ tensor: ReferenceTensor) -> [Double] {
        (0..<tensor.shape.n).map { sample in
          tensor.values[sample * size..<(sample + 1) * size].reduce(0) { $0 + $1 * $1 }.squareRoot()
        }
      }
      let slopes = lengths(gradient)
      let moved = adversarial.mapped { i, z in
        let slope = slopes[i / size]
        return z - origin[i] + (slope > 0 ? stepSize * gradient[i] / slope : 0)
      }
      let distances = lengths(moved)
      projected = moved.mapped { i, d in
        let distance = distances[i / size]
        return origin[i] + (distance > epsilon ? d * epsilon / distance : d)
      }
    }
    return projected.mapped { clip ? min(max($1, 0), 1) : $1 }
  }
}
