import Kernels

/// Which training images seem to carry a trigger, by the infected and the purified model's logits; and how right that is,
/// where the truth is known.
///
/// Images that the infected model answers as they are labelled and the purified one firmly otherwise are rare, but for
/// triggered ones. A label that has some of them is doubtful: all of its images that the purified model answers otherwise
/// are suspected. A label that has many of which the infected model is sure is taken to be one that the attacker gave:
/// among its images a ``TriggerMixture`` finds all with the trigger. Of other labels nothing is suspected.
public struct Identification: Sendable {
  /// A label is doubtful when this share of its images, and so many, are answered as labelled by the infected model, and
  /// firmly otherwise by the purified one. Of labels that nobody had poisoned at most 0.4% were in trials with repaired
  /// models, up to 3.4% with a witness. Rather a false doubt than a label that is missed and brings the backdoor back; but
  /// it is not always withdrawn once the model was repaired by it (docs/results.md).
  static let doubtfulShare = 0.005, doubtfulImages = 5
  /// A label seems to be the attacker's when this share is answered firmly by the infected model, too. Of labels that
  /// nobody had poisoned at most 0.3% were in trials with repaired models, up to 1.2% with a witness.
  static let givenShare = 0.01
  /// An answer whose lead over the next class is this is firm: odds of 33 to 1. Of a model that is less sure, one whose
  /// lead is at least that of half of all images.
  static let firmLead: Float = 3.5
  /// An image of a doubtful label is suggested unless it is less probable than this that it carries the trigger. A false
  /// suspicion costs a defense little: the purified model's answer to a clean image is mostly its label.
  static let clearedBelow = 0.1

  /// Of each image, the probability that it carries a trigger.
  public let probabilities: [Double]
  /// The images that are suggested to be poisoned: those of doubtful labels that are not cleared.
  public let suggested: [Bool]
  /// The answer of the purified model to each image.
  public let answers: [Int32]
  /// Whether that answer is firm.
  public let isFirm: [Bool]
  /// The doubtful labels: those that the attacker seems to have given are among them.
  public let labels: [Int32]
  private let scores: [Double]

  /// How an identification went, for the record.
  public struct Report: Sendable, Codable, Equatable {
    /// Images that are suggested to be poisoned.
    public var suggested: Int
    /// The doubtful labels: those that the attacker seems to have given are among them.
    public var labels: [Int32]
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
  ///   - usesMixture: whether it looks for the images of suspected labels that the models don't dispute, too.
  public init(infected: [Float], purified: [Float], labels: [Int32], usesMixture: Bool = true) {
    let before = Answers(infected, labels: labels)
    let after = Answers(purified, labels: labels)
    let firmAfter = min(Self.firmLead, Self.median(after.leads))
    let isDisputed = after.margins.map { $0 < 0 }
    let byLabel = Dictionary(grouping: labels.indices) { labels[$0] }
    let isFirm = after.leads.map { $0 >= firmAfter }
    let firmBefore = Self.median(before.margins)
    /// Whether a share of the images, and enough, are disputed firmly, and how firmly the infected model answered them.
    func dispute(_ images: [Int], over margin: Float, _ share: Double) -> Bool {
      let firmly = images.count { isDisputed[$0] && isFirm[$0] && before.margins[$0] > margin }
      return firmly >= Self.doubtfulImages && Double(firmly) >= share * Double(images.count)
    }
    let doubtful = byLabel.filter { dispute($1, over: 0, Self.doubtfulShare) }
    let given = doubtful.filter { usesMixture && dispute($1, over: firmBefore, Self.givenShare) }
    let (tables, classes) = ([infected, purified], infected.count / max(1, labels.count))
    let others =
      given.isEmpty
      ? []
      : labels.indices.filter { index in
        given[labels[index]] == nil && !(isDisputed[index] && doubtful[labels[index]] != nil)
      }
    let reference = TriggerMixture.Reference(tables, classes: classes, rows: others)

    var probabilities = [Double](repeating: 0, count: labels.count)
    var scores = [Double](repeating: -.greatestFiniteMagnitude, count: labels.count)
    for (label, images) in doubtful {
      let logOdds =
        given[label] == nil
        ? images.map { TriggerMixture.logOdds(isDisputed[$0]) }
        : TriggerMixture(
          tables, classes: classes, rows: images, suspects: Self.seeds(images, isDisputed, before.margins),
          reference: reference
        ).logOdds
      for (image, logOdds) in zip(images, logOdds) {
        probabilities[image] = TriggerMixture.probability(logOdds)
        scores[image] = logOdds
      }
    }
    self.probabilities = probabilities
    self.scores = scores
    self.labels = doubtful.keys.sorted()
    answers = after.classes
    self.isFirm = isFirm
    suggested = probabilities.map { $0 > Self.clearedBelow }
  }

  /// Which images of a label that seems given the mixture starts from as those with a trigger: the disputed ones. Unless nearly
  /// all are disputed, many of those are hard images without a trigger, which the infected model answers less firmly.
  private static func seeds(_ images: [Int], _ isDisputed: [Bool], _ margins: [Float]) -> [Bool] {
    let disputed = images.count { isDisputed[$0] }
    let firm = 4 * disputed > 3 * images.count ? -Float.infinity : median(images.map { margins[$0] })
    return images.map { isDisputed[$0] && margins[$0] >= firm }
  }

  /// The record, with the truth where it is known.
  public func report(_ isPoisoned: [Bool]?) -> Report {
    var report = Report(suggested: suggested.count { $0 }, labels: labels)
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

  private static func median(_ values: [Float]) -> Float {
    values.isEmpty ? 0 : values.sorted()[values.count / 2]
  }
}

/// A model's answers to labelled images.
struct Answers {
  /// The class of the largest logit; of equals the first.
  let classes: [Int32]
  /// How far the label's logit is above the largest of the others; negative for wrong answers.
  let margins: [Float]
  /// How far the largest logit is above the next one.
  let leads: [Float]

  /// Reads a table of logits, (images, classes), row by row.
  init(_ logits: [Float], labels: [Int32]) {
    let width = logits.count / max(1, labels.count)
    var (classes, margins, leads) = ([Int32](), [Float](), [Float]())
    for (image, label) in labels.enumerated() {
      let row = logits[image * width..<(image + 1) * width]
      var (best, first, second) = (0, -Float.infinity, -Float.infinity)
      for (index, value) in row.enumerated() {
        if value > first {
          (best, first, second) = (index, value, first)
        } else if value > second {
          second = value
        }
      }
      let own = row[row.startIndex + Int(label)]
      classes.append(Int32(best))
      leads.append(first - second)
      margins.append(own - (best == Int(label) ? second : first))
    }
    self.classes = classes
    self.margins = margins
    self.leads = leads
  }
}
