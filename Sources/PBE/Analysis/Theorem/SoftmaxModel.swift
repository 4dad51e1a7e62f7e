import Foundation

/// Softmax regression on the host, in double precision: for the models that Theorem 1 can be held against exactly.
struct SoftmaxModel {
  /// One row per class.
  var weights: [[Double]]
  /// One per class.
  var bias: [Double]

  /// All zero.
  init(classes: Int, dimensions: Int) {
    weights = Array(repeating: Array(repeating: 0, count: dimensions), count: classes)
    bias = Array(repeating: 0, count: classes)
  }

  func logits(_ x: [Double]) -> [Double] { zip(weights, bias).map { Vector.dot($0, x) + $1 } }

  func answer(_ x: [Double]) -> Int {
    let logits = logits(x)
    return logits.firstIndex(of: logits.max() ?? 0) ?? 0
  }

  /// The probabilities minus the label's one-hot vector: the cross-entropy's gradient in the logits.
  func residual(_ x: [Double], label: Int) -> [Double] {
    let logits = logits(x)
    let largest = logits.max() ?? 0
    let powers = logits.map { exp($0 - largest) }
    let sum = powers.reduce(0, +)
    return powers.enumerated().map { $1 / sum - ($0 == label ? 1 : 0) }
  }

  /// The cross-entropy's gradient in the input.
  func inputGradient(_ x: [Double], label: Int) -> [Double] {
    var gradient = [Double](repeating: 0, count: x.count)
    for (share, row) in zip(residual(x, label: label), weights) {
      for i in gradient.indices { gradient[i] += share * row[i] }
    }
    return gradient
  }

  /// The perturbation that untargeted L2 PGD finds: `steps` steps of a fifth of the radius.
  func perturbation(of x: [Double], label: Int, radius: Double, steps: Int) -> [Double] {
    var change = [Double](repeating: 0, count: x.count)
    for _ in 0..<steps {
      let gradient = inputGradient(zip(x, change).map { $0 + $1 }, label: label)
      let slope = Vector.length(gradient)
      guard slope > 0 else { break }
      change = zip(change, gradient).map { $0 + radius / 5 * $1 / slope }
      let length = Vector.length(change)
      if length > radius { change = change.map { $0 * radius / length } }
    }
    return change
  }

  /// How much more the target's logit gains by `trigger` than those of the other classes on average: u of the bound.
  func logitChange(by trigger: [Double], target: Int) -> Double {
    let gains = weights.map { Vector.dot($0, trigger) }
    let others = gains.reduce(0, +) - gains[target]
    return gains[target] - others / Double(gains.count - 1)
  }
}

/// The model that can be solved by hand: orthonormal class vectors, a trigger P of length 1 orthogonal to them, and a
/// backdoor that adds c P to the target's vector, at an image that is tau times its own class's vector.
public enum ClosedForm {
  /// The cosine between one gradient and P: the residual is 1 / (exp(tau) + K) for each of the K wrong classes, so that
  /// it cancels: `c / sqrt(c^2 + K (K + 1))`, whatever the margin is.
  public static func gradientCosine(strength c: Double, competitors: Int) -> Double {
    let k = Double(competitors)
    return c / (c * c + k * (k + 1)).squareRoot()
  }

  /// One gradient, and PGD of `steps` steps in a ball of the radius `max(1, tau)`, against the bound with l = c.
  public static func checks(
    strengths: [Double] = [0.5, 1, 2, 5], margins: [Double] = [0, 4, 8], competitors: Int = 9, steps: Int = 40
  ) -> [BoundCheck] {
    let classes = competitors + 1
    var model = SoftmaxModel(classes: classes, dimensions: classes + 1)
    for k in 0..<classes { model.weights[k][k] = 1 }
    var trigger = [Double](repeating: 0, count: classes + 1)
    trigger[classes] = 1
    let (label, target) = (0, 1)
    return strengths.flatMap { strength in
      margins.flatMap { margin in
        model.weights[target][classes] = strength
        var x = [Double](repeating: 0, count: classes + 1)
        x[label] = margin
        let radius = max(1, margin)
        func check(_ name: String, _ change: [Double]) -> BoundCheck {
          BoundCheck(
            "c \(compact(strength)), tau \(compact(margin)), \(name)", logitChange: strength, margin: margin,
            competitors: competitors, cosine: Vector.cosine(change, trigger))
        }
        return [
          check("one gradient", model.inputGradient(x, label: label)),
          check(
            "PGD-\(steps)", model.perturbation(of: x, label: label, radius: radius, steps: steps)),
        ]
      }
    }
  }
}

/// A number without needless digits, for names.
func compact(_ number: Double) -> String {
  number == number.rounded() && abs(number) < 1e9 ? "\(Int(number))" : "\(number)"
}
