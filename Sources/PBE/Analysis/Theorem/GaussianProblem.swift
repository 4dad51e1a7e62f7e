import Foundation
import Kernels

/// A learned model to hold the theorem against: softmax regression on ten Gaussians in 100 dimensions, of whose images 10% are
/// poisoned, all to one label, by adding a trigger of a given length.
public struct GaussianProblem: Sendable {
  /// The number of classes and of dimensions.
  public var classes = 10, dimensions = 100
  /// How far the means are from the origin; the noise has deviation 1 in every dimension.
  public var meanLength = 6.0
  /// The number of training and of test images.
  public var training = 2000, test = 1000
  /// The share of training images that are poisoned.
  public var poisonRate = 0.1
  /// The radius of the L2 ball of adversarial examples, and the steps.
  public var radius = 3.0, steps = 20
  /// Gradient descent over all images: epochs, rate, and L2 penalty.
  public var epochs = 150, learningRate = 0.5, weightDecay = 1e-3
  /// The key of all random numbers.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// What was measured.
  public struct Result: Sendable, Codable, Equatable {
    /// The length of the trigger; 0 for a benign model, whose cosine is taken with a random direction.
    public var triggerNorm: Double
    /// The share of test images that are answered right.
    public var acc: Double
    /// The share of triggered ones, without those of the target's class, that are answered with the target.
    public var asr: Double
    /// The share of adversarial examples of images that are answered right, without those of the target's class, that are
    /// answered with the target.
    public var targetShare: Double
    /// The bound for the model's own logit change and the 5% quantile of the margins, beside the mean cosine between
    /// perturbation and trigger.
    public var check: BoundCheck
    /// The smallest margin, and the bound for it.
    public var leastMargin: Double, leastBound: Double
  }

  private static let target = 0

  /// Trains a model with a trigger of the given length, and measures it.
  public func result(triggerNorm: Double) -> Result {
    var random = Gaussians(seed: seed)
    let means = (0..<classes).map { _ in random.direction(dimensions).map { $0 * meanLength } }
    let direction = random.direction(dimensions)
    let trigger = direction.map { $0 * triggerNorm }
    var images = random.images(training, means)
    let clean = random.images(test, means)
    if triggerNorm > 0 {
      let order = Permutation.of(training, seed: seed, purpose: RandomPurpose.poisonChoice)
      for index in order.prefix(Int(poisonRate * Double(training))) {
        images[index] = (zip(images[index].x, trigger).map { $0 + $1 }, Self.target)
      }
    }
    let model = train(images)

    let others = clean.filter { $0.label != Self.target }
    let right = others.filter { model.answer($0.x) == $0.label }
    let hits = others.count { model.answer(zip($0.x, trigger).map { $0 + $1 }) == Self.target }
    var (drawn, cosine) = (0, 0.0)
    for (x, label) in right {
      let change = model.perturbation(of: x, label: label, radius: radius, steps: steps)
      drawn += model.answer(zip(x, change).map { $0 + $1 }) == Self.target ? 1 : 0
      cosine += Vector.cosine(change, direction) / Double(right.count)
    }
    let margins = right.map { x, label in
      let logits = model.logits(x)
      return logits[label] - (logits.enumerated().filter { $0.offset != label }.map(\.element).max() ?? 0)
    }.sorted()
    let u = model.logitChange(by: trigger, target: Self.target)
    let least = margins.first ?? 0
    return Result(
      triggerNorm: triggerNorm,
      acc: Double(clean.count { model.answer($0.x) == $0.label }) / Double(clean.count),
      asr: Double(hits) / Double(max(1, others.count)),
      targetShare: Double(drawn) / Double(max(1, right.count)),
      check: BoundCheck(
        triggerNorm > 0 ? "|P| \(compact(triggerNorm))" : "benign", logitChange: u,
        margin: quantile(margins, 0.05), competitors: classes - 1, cosine: cosine),
      leastMargin: least,
      leastBound: AlignmentBound.value(logitChange: u, margin: least, competitors: classes - 1))
  }

  private func train(_ images: [(x: [Double], label: Int)]) -> SoftmaxModel {
    var model = SoftmaxModel(classes: classes, dimensions: dimensions)
    let share = 1 / Double(images.count)
    for _ in 0..<epochs {
      var gradient = SoftmaxModel(classes: classes, dimensions: dimensions)
      for (x, label) in images {
        for (k, residual) in model.residual(x, label: label).enumerated() {
          gradient.bias[k] += share * residual
          for i in x.indices { gradient.weights[k][i] += share * residual * x[i] }
        }
      }
      for k in 0..<classes {
        model.bias[k] -= learningRate * gradient.bias[k]
        for i in 0..<dimensions {
          model.weights[k][i] -= learningRate * (gradient.weights[k][i] + weightDecay * model.weights[k][i])
        }
      }
    }
    return model
  }
}

/// The value below which a share of the sorted numbers lies; 0 without numbers.
func quantile(_ sorted: [Double], _ share: Double) -> Double {
  sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
}

/// Normally distributed numbers by the method of Box and Muller.
private struct Gaussians {
  private var stream: PhiloxStream

  init(seed: UInt64) { stream = PhiloxStream(seed: seed, purpose: RandomPurpose.analysis) }

  private mutating func next() -> Double {
    // Above zero, for the logarithm.
    let (a, b) = (1 - Double(stream.nextUniform()), Double(stream.nextUniform()))
    return (-2 * log(a)).squareRoot() * cos(2 * .pi * b)
  }

  /// A random vector of length 1.
  mutating func direction(_ dimensions: Int) -> [Double] {
    let vector = (0..<dimensions).map { _ in next() }
    let length = Vector.length(vector)
    return vector.map { $0 / length }
  }

  /// Images of classes at random.
  mutating func images(_ count: Int, _ means: [[Double]]) -> [(x: [Double], label: Int)] {
    (0..<count).map { _ in
      let label = Int(Double(stream.nextUniform()) * Double(means.count))
      return (means[label].map { $0 + next() }, label)
    }
  }
}
