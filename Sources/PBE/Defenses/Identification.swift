import Kernels

/// Which training images seem to carry a trigger, by the infected and the purified model's logits; and how right that is,
/// where the truth is known.
public struct Identification: Sendable {
  /// Rounds of ``TriggerMixture``. With more, images that are merely hard join those with a trigger.
  public static let defaultIterations = 3

  /// Of each image, the probability that it carries a trigger.
  public let probabilities: [Double]
  /// The images that are suggested to be poisoned: those that more probably are than not.
  public let suggested: [Bool]
  /// The answer of the purified model to each image.
  public let answers: [Int32]
  /// How far suspicious and other images lie apart, in standard deviations.
  public let separation: Double
  private let scores: [Double]

  /// How an identification went, for the record.
  public struct Report: Sendable, Codable, Equatable {
    /// Images that are suggested to be poisoned.
    public var suggested: Int
    /// How far suspicious and other images lie apart, in standard deviations.
    public var separation: Double
    /// The probability that a poisoned image is more suspicious than another one, where the truth is known.
    public var auroc: Double?
    /// The shares of poisoned and of other images that are suggested, where the truth is known.
    public var tpr: Double?, fpr: Double?
  }

  /// Looks at every image.
  ///
  /// - Parameters:
  ///   - infected: the infected model's logits, (images, classes), row by row.
  ///   - purified: the purified model's.
  ///   - labels: the training set's.
  ///   - iterations: rounds of ``TriggerMixture``.
  public init(infected: [Float], purified: [Float], labels: [Int32], iterations: Int) {
    let before = Answers(infected, labels: labels)
    let after = Answers(purified, labels: labels)
    answers = after.classes
    // Firm answers that the purified model does not share. Without poison they are the images that it gets wrong.
    let firm = before.margins.sorted()[labels.count / 2]
    let suspects = labels.indices.map { before.margins[$0] >= firm && after.margins[$0] < 0 }
    let mixture = TriggerMixture([infected, purified], suspects: suspects, iterations: iterations)
    probabilities = mixture.probabilities
    suggested = mixture.probabilities.map { $0 > 0.5 }
    scores = mixture.scores
    separation = mixture.separation
  }

  /// The record, with the truth where it is known.
  public func report(_ isPoisoned: [Bool]?) -> Report {
    var report = Report(suggested: suggested.count { $0 }, separation: separation)
    guard let isPoisoned else { return report }
    let positives = isPoisoned.count { $0 }
    let hits = zip(suggested, isPoisoned).count { $0 && $1 }
    report.auroc = areaUnderROC(scores: scores.map { Float($0) }, isPositive: isPoisoned)
    if positives > 0 { report.tpr = Double(hits) / Double(positives) }
    if positives < isPoisoned.count {
      report.fpr = Double(report.suggested - hits) / Double(isPoisoned.count - positives)
    }
    return report
  }
}

/// A model's answers to labelled images.
struct Answers {
  /// The class of the largest logit; of equals the first.
  let classes: [Int32]
  /// How far the label's logit is above the largest of the others; negative for wrong answers.
  let margins: [Float]

  /// Reads a table of logits, (images, classes), row by row.
  init(_ logits: [Float], labels: [Int32]) {
    let width = logits.count / max(1, labels.count)
    var (classes, margins) = ([Int32](), [Float]())
    for (image, label) in labels.enumerated() {
      let row = logits[image * width..<(image + 1) * width]
      var (best, rival) = (0, -Float.infinity)
      for (index, value) in row.enumerated() {
        if value > row[row.startIndex + best] { best = index }
        if index != Int(label) { rival = max(rival, value) }
      }
      classes.append(Int32(best))
      margins.append(row[row.startIndex + Int(label)] - rival)
    }
    self.classes = classes
    self.margins = margins
  }
}
