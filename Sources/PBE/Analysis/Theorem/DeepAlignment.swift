import Kernels

/// Theorem 1 on a deep model: the cosine between adversarial perturbations and what the trigger
/// does to each image, beside the bound with margins and logit changes as they are measured.
public struct DeepAlignment: Sendable, Codable {
  /// One size of perturbations.
  public struct Row: Sendable, Codable {
    /// The size.
    public let budget: Budget
    /// The mean cosine against the bound for the 5% quantile of the margins.
    public let check: BoundCheck
    /// The share of images whose own cosine, positive or negative, reaches that bound; `nil` where the trigger does not raise
    /// the target's logit.
    public let shareAbove: Double?
    /// The mean cosine of the benign model's adversarial perturbations, where there is one.
    public let benignCosine: Double?
  }

  /// How many images: those whose label is not the attacker's, and that all models answer right.
  public let images: Int
  /// The smallest margin of a clean image's logit, and the one that 5% are below.
  public let leastMargin: Double, lowMargin: Double
  /// The bound for the smallest margin.
  public let leastBound: Double
  /// The mean length of the trigger, and how much more the target's logit gains by it than the others on average.
  public let triggerNorm: Double, logitChange: Double
  /// For each size of perturbations.
  public let rows: [Row]

  /// Measures. Throws `badData` where no image is left.
  public init(
    _ model: Weights, benign: Weights? = nil, test: LabeledImages, attack: AttackFile,
    settings: InspectionSettings, progress: (_ share: Double) throws -> Void = { _ in }
  ) throws {
    let probes = try [model, benign].compactMap { $0 }.map { try NetworkProbe($0) }
    let pictures = try InspectedImages(test, probes, settings, attack, on: model.backend) { try progress(0) }
    guard let triggered = pictures.triggered, !pictures.scored.isEmpty else {
      throw PBEError(
        .badData, "no image is left that the trigger should change", at: test.name,
        remedy: "use more test images, or check that model, attack and data belong together")
    }
    let (size, scored) = (test.imageSize, pictures.scored)
    func change(_ pixels: [Float], _ image: Int) -> [Double] {
      let range = image * size..<(image + 1) * size
      return Vector.difference(pixels[range], pictures.clean[range])
    }
    let before = try probes[0].answers(to: pictures.clean) { _ in try progress(0) }
    let after = try probes[0].answers(to: triggered) { _ in try progress(0) }
    let margins = scored.map { before.margin(of: $0, label: pictures.labels[$0]) }.sorted()
    let (classes, share) = (before.classes, 1 / Double(scored.count))
    let (low, least) = (quantile(margins, 0.05), margins[0])
    var (norm, gain) = (0.0, 0.0)
    for image in scored {
      norm += share * Vector.length(change(triggered, image))
      let target = Int(attack.targetLabel(of: pictures.labels[image], classes: classes))
      let gains = (0..<classes).map {
        Double(after.logits[image * classes + $0] - before.logits[image * classes + $0])
      }
      gain += share * (gains[target] - (gains.reduce(0, +) - gains[target]) / Double(classes - 1))
    }
    images = scored.count
    leastMargin = least
    lowMargin = low
    triggerNorm = norm
    logitChange = gain
    leastBound = AlignmentBound.value(logitChange: gain, margin: least, competitors: classes - 1)
    let count = Double(settings.budgets.count)
    rows = try settings.budgets.enumerated().map { index, budget in
      let cosines = try probes.map { probe in
        let pixels = try probe.adversarial(
          pictures.clean, labels: pictures.labels,
          attack: budget.attack(steps: settings.steps, clip: settings.clip)
        ) { done in
          try progress((Double(index) + Double(done) / Double(pictures.labels.count)) / count)
        }
        return scored.map { Vector.cosine(change(pixels, $0), change(triggered, $0)) }
      }
      let check = BoundCheck(
        budget.name, logitChange: gain, margin: low, competitors: classes - 1,
        cosine: cosines[0].reduce(0, +) * share)
      return Row(
        budget: budget, check: check,
        shareAbove: gain > 0 ? Double(cosines[0].count { abs($0) >= check.bound }) * share : nil,
        benignCosine: cosines.count > 1 ? cosines[1].reduce(0, +) * share : nil)
    }
  }
}
