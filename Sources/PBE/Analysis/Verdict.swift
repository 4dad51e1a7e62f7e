import Kernels

/// What is made of a model's answers to its adversarial examples without knowing any trigger: how far they concentrate
/// beyond what benign models do, and whether that is more than the calibration allows.
public struct Verdict: Sendable, Codable {
  /// What the answers concentrate on.
  public enum Pattern: String, Sendable, Codable {
    /// One label: as an all-to-one attack would have it.
    case label
    /// For each true label another one: as an all-to-all attack would have it.
    case permutation
  }

  /// The size of perturbations that it is about.
  public let budget: Budget
  /// The score: standard deviations of the bank's benign models above their mean.
  public let score: Double
  /// What the score is of.
  public let pattern: Pattern
  /// The label that draws most beyond what is usual; the most likely target of an all-to-one attack.
  public let target: Int
  /// Above this score a model is suspicious.
  public let threshold: Double
  /// Whether it is; `nil` where the calibration is of another data set or of adversarial examples made otherwise, whose
  /// threshold says nothing, and where wrong answers are too few to say anything.
  public let isSuspicious: Bool?
  /// The share of the bank's benign models, with this one counted among them, that score as high: at least 1 over their
  /// number plus 1. `nil` where ``isSuspicious`` is.
  public let pValue: Double?
  /// What to keep in mind.
  public let notes: [String]

  /// The verdict on a model. `nil` where the calibration's size of perturbations was not inspected.
  public init?(_ findings: ModelFindings, of record: InspectionRecord, by calibration: Calibration) {
    guard let found = findings.budgets.first(where: { $0.budget == calibration.budget }) else { return nil }
    let isSame = calibration.isSameData(record, classes: found.matrix.classes)
    let scale = isSame ? calibration.scale : calibration.scale.unrelated(classes: found.matrix.classes)
    let score = scale.score(found.matrix)
    budget = found.budget
    (self.score, pattern, target) = (score.value, score.pattern, score.target)
    threshold = calibration.threshold
    let benign = calibration.models.filter { !$0.isInfected }
    let (settings, calibrated) = (record.settings, calibration.settings)
    let isMadeAlike = settings.steps == calibrated.steps && settings.clip == calibrated.clip
    let isEnough = found.matrix.wrongAnswers >= calibration.leastWrong
    let isComparable = isSame && isMadeAlike && isEnough
    isSuspicious = isComparable ? score.value > calibration.threshold : nil
    pValue =
      isComparable ? Double(1 + benign.count { $0.score >= score.value }) / Double(1 + benign.count) : nil
    var notes: [String] = []
    if !isSame {
      notes.append(
        "the calibration is of \(calibration.dataset), whose classes draw one another differently: the score compares with "
          + "uniform answers, and there is no verdict; calibrate makes a calibration of models of your data set"
      )
    } else if calibration.architecture != record.architecture || calibration.width != record.width {
      notes.append(
        "the calibration is of \(calibration.architecture) of width \(calibration.width): for another network its threshold "
          + "and p-value are approximate")
    }
    if !isMadeAlike {
      notes.append(
        "the calibration is of adversarial examples of \(calibrated.steps) PGD steps, \(calibrated.clip ? "clipped" : "unclipped"): "
          + "of others there is no verdict; inspect with the same")
    }
    if !isEnough {
      notes.append(
        "only \(found.matrix.wrongAnswers) of \(found.matrix.images) answers are wrong, and a verdict takes \(calibration.leastWrong): "
          + "inspect more --images where there are more; a model that adversarial examples hardly mislead may have been made so, to hide"
      )
    }
    if record.images < 500 {
      notes.append("only \(record.images) images were inspected: shares of few images are rough")
    }
    if isSuspicious == false { notes.append(calibration.worthOfNegative) }
    self.notes = notes
  }
}
