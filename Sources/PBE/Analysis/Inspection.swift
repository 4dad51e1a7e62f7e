import Foundation
import Kernels

/// The size of adversarial perturbations that an inspection makes.
public struct Budget: Sendable, Codable, Hashable {
  /// The ball.
  public let norm: PerturbationNorm
  /// Its radius in units of 1/255: of the change of a pixel, or of the length of an image's change.
  public let epsilon: Double

  /// Creates a budget.
  public init(_ norm: PerturbationNorm, epsilon: Double) {
    self.norm = norm
    self.epsilon = epsilon
  }

  private enum CodingKeys: CodingKey { case norm, epsilon }

  /// A budget as a file may hold it; throws for a size that nobody would inspect.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    norm = try values.decode(PerturbationNorm.self, forKey: .norm)
    epsilon = try values.decode(Double.self, forKey: .epsilon)
    guard epsilon > 0, epsilon <= Self.largest(norm) else {
      throw DecodingError.dataCorruptedError(
        forKey: .epsilon, in: values, debugDescription: "the size is out of range")
    }
  }

  /// The largest size that makes sense, in units of 1/255.
  public static func largest(_ norm: PerturbationNorm) -> Double { norm == .infinity ? 255 : 1e5 }

  /// The L2 budget that goes with an L-infinity one on images of `size` pixels and channels: half the expected length of
  /// uniform noise in the L-infinity ball. On CIFAR-10's images that makes 128 of 8, the usual pair of robustness benchmarks.
  public static func matchingL2(epsilon: Double, size: Int) -> Budget {
    let length = epsilon * (Double(size) / 12).squareRoot()
    // Two decimals, and two digits at least.
    let scale = max(100, pow(10, 1 - log10(length).rounded(.down)))
    return Budget(.two, epsilon: (scale * length).rounded() / scale)
  }

  /// The attack: a fifth of the radius per step, as in the paper's code, from the image itself.
  func attack(steps: Int, clip: Bool) -> PGD {
    PGD(epsilon: Float(epsilon / 255), steps: steps, clip: clip, norm: norm)
  }

  /// For tables: `8 Linf`.
  public var name: String {
    let number = epsilon == epsilon.rounded() ? "\(Int(epsilon))" : "\(epsilon)"
    return "\(number) \(norm == .infinity ? "Linf" : "L2")"
  }
}

/// What an inspection does.
public struct InspectionSettings: Sendable, Codable, Equatable {
  /// At most so many images.
  public var images = 1000
  /// The sizes of perturbations.
  public var budgets: [Budget]
  /// PGD steps.
  public var steps = 7
  /// Clips adversarial examples to valid pixels.
  public var clip = false
  /// The key of the choice of images.
  public var seed: UInt64 = 0

  /// The defaults for images of `size` pixels and channels: L-infinity budgets about the 6/255 of the paper's
  /// code, and matching L2 ones.
  public init(
    epsilons: [Double]? = nil, l2: [Double]? = nil, imageSize size: Int
  ) {
    let epsilons = epsilons ?? [1, 2, 4, 6, 8]
    budgets =
      epsilons.map { Budget(.infinity, epsilon: $0) }
      + (l2?.map { Budget(.two, epsilon: $0) } ?? epsilons.map { .matchingL2(epsilon: $0, size: size) })
  }
}

/// What one model answers to its adversarial examples of one size.
public struct BudgetFindings: Sendable, Codable {
  /// The size.
  public let budget: Budget
  /// Images by true label and answer.
  public let matrix: PredictionMatrix
  /// ``PredictionMatrix/misled``.
  public let misled: Double
  /// ``PredictionMatrix/row``.
  public let row: [Double]
  /// ``PredictionMatrix/inflow``.
  public let inflow: [Double]
  /// ``PredictionMatrix/entropy``.
  public let entropy: Double
  /// ``PredictionMatrix/chiSquare``.
  public let chiSquare: PredictionMatrix.ChiSquare
  /// Against the benign model's, where there is one.
  public var chiSquareAgainstBenign: PredictionMatrix.ChiSquare?
  /// The rows' shares minus the benign model's, where there is one.
  public var excess: [[Double]]?
  /// ``PredictionMatrix/targetShare(_:)``, where the attack is known.
  public var targetShare: Double?
  /// How like triggered images the adversarial ones are, where the attack is known.
  public var comparison: ImageComparison?

  init(_ budget: Budget, _ matrix: PredictionMatrix) {
    self.budget = budget
    self.matrix = matrix
    misled = matrix.misled
    row = matrix.row
    inflow = matrix.inflow
    entropy = matrix.entropy
    chiSquare = matrix.chiSquare
  }
}

/// What an inspection finds out about a model.
public struct ModelFindings: Sendable, Codable {
  /// The share of test images, all of them, that it classifies right.
  public let acc: Double
  /// The share of the inspected images, without those of the attacker's label, that get it when triggered; where the attack
  /// is known.
  public var asr: Double?
  /// For each size of perturbations.
  public let budgets: [BudgetFindings]
}

/// Inspects models that take the same images: what they answer to untargeted adversarial examples of clean test images,
/// and, where the attack is known, how like triggered images those are: the observations of
/// the poster of Mu et al., CVPR 2023 (docs/observations.md).
public enum Inspector {
  /// The models to inspect, all for the same images.
  public struct Models {
    /// The model in question.
    public var model: Weights
    /// A model known to be benign, and the purified one, where there are such.
    public var benign: Weights?, purified: Weights?

    /// Creates it.
    public init(_ model: Weights, benign: Weights? = nil, purified: Weights? = nil) {
      self.model = model
      self.benign = benign
      self.purified = purified
    }
  }

  /// What was found.
  public struct Findings: Sendable {
    /// How many images were inspected.
    public let images: Int
    /// Of the model in question.
    public let model: ModelFindings
    /// Of the others, where given.
    public let benign: ModelFindings?, purified: ModelFindings?
  }

  /// Inspects the models, on images that all of them classify right. `progress` gets the share that is done; throwing
  /// stops. Throws `badData` when there are no such images, a model's answers are not finite, or the attack's target is not
  /// one of the classes.
  public static func inspect(
    _ models: Models, test: LabeledImages, attack: AttackFile?, settings: InspectionSettings,
    progress: (_ share: Double) throws -> Void = { _ in }
  ) throws -> Findings {
    let backend = models.model.backend
    let model = try NetworkProbe(models.model)
    let benign = try models.benign.map { try NetworkProbe($0) }
    let purified = try models.purified.map { try NetworkProbe($0) }
    let probes = [model, benign, purified].compactMap { $0 }
    let pictures = try InspectedImages(test, probes, settings, attack, on: backend) { try progress(0) }
    let inspection = Inspection(
      pictures: pictures, settings: settings, attack: attack, classes: test.classes,
      imageSize: test.imageSize)
    var done = 0
    func findings(_ probe: NetworkProbe, control: Inspection.Result? = nil) throws -> Inspection.Result {
      let first = Double(done) / Double(probes.count)
      done += 1
      return try inspection.run(probe, control: control) {
        try progress(first + $0 / Double(probes.count))
      }
    }
    // The benign model comes first: the others are compared with it.
    let control = try benign.map { try findings($0) }
    let accuracies = pictures.accuracies
    func finished(_ result: Inspection.Result?, _ accuracy: Int) -> ModelFindings? {
      result.map { ModelFindings(acc: accuracies[accuracy], asr: $0.asr, budgets: $0.budgets) }
    }
    let own = try findings(model, control: control)
    let repaired = try purified.map { try findings($0, control: control) }
    return Findings(
      images: pictures.labels.count,
      model: ModelFindings(acc: accuracies[0], asr: own.asr, budgets: own.budgets),
      benign: finished(control, 1), purified: finished(repaired, probes.count - 1))
  }
}

/// One inspection's images and settings.
private struct Inspection {
  let pictures: InspectedImages
  let settings: InspectionSettings
  let attack: AttackFile?
  let classes: Int, imageSize: Int

  /// What was found of one model, and its adversarial examples of each size.
  struct Result {
    var asr: Double?
    var budgets: [BudgetFindings] = []
    var examples: [[Float]] = []
  }

  func run(
    _ probe: NetworkProbe, control: Result?, _ progress: (_ share: Double) throws -> Void
  ) throws -> Result {
    var done = 0.0
    func view(_ pixels: [Float]) throws -> ImageComparison.View {
      ImageComparison.View(pixels: pixels, answers: try probe.answers(to: pixels) { _ in try progress(done) })
    }
    let clean = try view(pictures.clean)
    let triggered = try pictures.triggered.map(view)
    var result = Result()
    for (index, budget) in settings.budgets.enumerated() {
      let pixels = try probe.adversarial(
        pictures.clean, labels: pictures.labels,
        attack: budget.attack(steps: settings.steps, clip: settings.clip)
      ) { images in
        let share = Double(images) / Double(pictures.labels.count)
        done = (Double(index) + share) / Double(settings.budgets.count)
        try progress(done)
      }
      let adversarial = try view(pixels)
      let matrix = PredictionMatrix(
        labels: pictures.labels, answers: adversarial.answers.labels, classes: classes)
      var found = BudgetFindings(budget, matrix)
      if let other = control?.budgets[index].matrix {
        found.chiSquareAgainstBenign = matrix.chiSquare(against: other)
        found.excess = matrix.excess(over: other)
      }
      if let attack, let triggered {
        found.targetShare = matrix.targetShare(attack)
        found.comparison = ImageComparison(
          clean: clean, triggered: triggered, adversarial: adversarial,
          benign: try control.map { try view($0.examples[index]) }, chosen: pictures.scored,
          imageSize: imageSize)
      }
      result.budgets.append(found)
      result.examples.append(pixels)
    }
    if let attack, let triggered, !pictures.scored.isEmpty {
      let hits = pictures.scored.count { image in
        triggered.answers.labels[image]
          == attack.targetLabel(of: pictures.labels[image], classes: classes)
      }
      result.asr = Double(hits) / Double(pictures.scored.count)
    }
    return result
  }
}
