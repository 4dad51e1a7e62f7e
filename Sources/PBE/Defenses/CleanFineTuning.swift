import Kernels

/// The defenses that have some clean images and fine-tune on them: adversarial fine-tuning (AFT), and the baselines that
/// it is compared with.
public struct CleanFineTuning: Sendable, Codable, Hashable {
  /// How it fine-tunes.
  public var tuning = TrainingSettings()
  /// All epochs.
  public var epochs: Int
  /// The first of them, which train on adversarial examples.
  public var adversarial_epochs = 0
  /// Features are pruned first, until the accuracy on the clean images has fallen by this share of itself; `nil` for none.
  public var pruning_tolerance: Double?

  /// Adversarial fine-tuning: first on untargeted adversarial examples, then on plain images (Mu et al., CVPR
  /// 2023, algorithm 1 without its steps of initialization and identification, as their code sets it up).
  public static var aft: CleanFineTuning {
    var result = CleanFineTuning(epochs: 20)
    result.adversarial_epochs = 3
    return result
  }

  /// Plain fine-tuning as BackdoorBench sets it up.
  public static var fineTuning: CleanFineTuning {
    var result = CleanFineTuning(epochs: 100)
    result.tuning.batch = 256
    result.tuning.learning_rate = 0.01
    result.tuning.schedule = .cosine
    return result
  }

  /// Fine-pruning (Liu et al., "Fine-pruning", 2018): the features that are least active on clean images go, then plain
  /// fine-tuning.
  public static var finePruning: CleanFineTuning {
    var result = fineTuning
    result.pruning_tolerance = 0.1
    return result
  }

  /// FT-SAM (Zhu et al., "Enhancing fine-tuning based backdoor defense with sharpness-aware minimization", ICCV
  /// 2023), with the settings of BackdoorBench for CIFAR-10.
  public static var ftSAM: CleanFineTuning {
    var result = fineTuning
    result.tuning.sam_radius = 2
    result.tuning.sam_adaptive = true
    result.tuning.label_smoothing = 0.1
    return result
  }

  /// Purifies the session's model with `clean`.
  public func run(_ session: DefenseSession, clean: DeviceImages, labels: [Int32]) throws -> [StepReport] {
    let all = Array(0..<clean.count)
    let adversarial = min(adversarial_epochs, epochs)
    session.plan(
      work: Double(clean.count)
        * (Double(adversarial) * DefenseSession.cost(adversarial: true, tuning)
          + Double(epochs - adversarial) * DefenseSession.cost(adversarial: false, tuning)))
    var masks: [WeightMask] = []
    if let pruning_tolerance {
      masks = [try FeaturePruning(session, clean: clean, labels: labels, tolerance: pruning_tolerance).mask]
    }
    _ = try session.makeTrainer(clean, tuning, masks: masks)
    var report = StepReport(step: 0, extraSet: all, truth: nil)
    try session.train(
      on: all, epochs: epochs, into: &report, isAdversarial: { epoch, _ in epoch < adversarial },
      rate: { tuning.schedule.rate(tuning.learning_rate, share: $0) })
    report.adversarial_epochs = adversarial
    report.metrics = try session.finish(step: 0)
    return [report]
  }
}

/// Which features of the final linear layer are pruned, and how.
struct FeaturePruning {
  /// Keeps them at zero.
  let mask: WeightMask

  /// Prunes the features with the smallest mean activation on `clean`, one by one, as long as the accuracy there stays
  /// above (1 - tolerance) of what it is.
  init(_ session: DefenseSession, clean: DeviceImages, labels: [Int32], tolerance: Double) throws {
    let weights = session.weights
    guard let layer = weights.graph.finalLinear else {
      throw PBEError(
        .usage, "the network does not end with a linear layer", at: "fine-pruning",
        remedy: "use another method")
    }
    let scorer = try Scorer(weights, data: clean, keepsFeatures: true)
    guard let table = scorer.features else { throw PBEError(.internal, "the scorer keeps no features") }
    let count = table.shape.count / clean.count
    let matrix: [Float] = try weights.backend.read(weights.tensor("\(layer).weight"))
    let keeps = try session.values("kept-features", scored: clean.count) {
      try session.score(scorer)
      return Self.keep(
        features: try weights.backend.read(table), logits: try weights.backend.read(scorer.logits),
        matrix: matrix, count: count, labels: labels, tolerance: tolerance)
    }.numbers.map { $0 > 0 }
    let mask = try weights.mask(keepingInputs: keeps, of: "\(layer).weight")
    let put = try weights.backend.compile([Plans.mask(weights, [mask])])[0]
    try session.change { try put.run(RunParameters()) }
    session.observer.log("pruned \(keeps.count { !$0 }) of \(count) features")
    self.mask = mask
  }

  /// 1 for every feature that stays, 0 for the others. All but the last is pruned one by one, the least active first.
  ///
  /// - Parameters:
  ///   - features: (images, count).
  ///   - logits: (images, classes).
  ///   - matrix: the linear layer's weight, (classes, count).
  static func keep(
    features: [Float], logits: [Float], matrix: [Float], count: Int, labels: [Int32], tolerance: Double
  ) -> [Float] {
    let (images, classes) = (labels.count, logits.count / max(1, labels.count))
    var sums = [Double](repeating: 0, count: count)
    for image in 0..<images {
      for feature in 0..<count { sums[feature] += Double(features[image * count + feature]) }
    }
    var logits = logits
    func accuracy() -> Double {
      var right = 0
      for image in 0..<images {
        var best = 0
        for label in 1..<classes where logits[image * classes + label] > logits[image * classes + best] {
          best = label
        }
        right += best == Int(labels[image]) ? 1 : 0
      }
      return Double(right) / Double(max(1, images))
    }
    let enough = (1 - tolerance) * accuracy()
    var keeps = [Float](repeating: 1, count: count)
    for feature in (0..<count).sorted(by: { (sums[$0], $0) < (sums[$1], $1) }).dropLast() {
      for image in 0..<images {
        let value = features[image * count + feature]
        for label in 0..<classes {
          logits[image * classes + label] -= matrix[label * count + feature] * value
        }
      }
      if accuracy() < enough { break }
      keeps[feature] = 0
    }
    return keeps
  }
}
