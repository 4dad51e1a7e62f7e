import Foundation
import Kernels

/// Which training images seem to carry a trigger, by the infected and the purified model; and how right that is, where the
/// truth is known.
///
/// Images that the infected model answers as they are labelled and the purified one otherwise carry the trigger more often
/// than others. They are the seeds of a ``TriggerDiscriminant``: what tells them from the other images in the features
/// of the infected model is the trigger, wherever it is found. It is sought from those that the purified model answers firmly,
/// and from all of labels that it knows. Where that finds nothing, a trigger may be so rare that the seeds of one such
/// label alone tell it; or so faint in the features that it stands apart only among the images of its label. What was found
/// counts only where it stands apart, and where the purified model disputes most of it: hard images neither stand apart nor
/// are mostly disputed. Nor does a class count that the purified model doesn't know. Then what the purified model thinks of
/// the label is one more feature, for triggers that the infected model is less sure of.
public struct Identification: Sendable {
  /// Groups of all images count as apart from this ``TriggerDiscriminant/separation`` on.
  static let leastSeparation = 25.0
  /// Groups of one label's images count as apart from this ``TriggerDiscriminant/contrast(features:)`` on.
  static let leastContrast = 5.0

  /// An image is suggested to be poisoned when the probability is above this: a trigger that keeps the attacker's label does
  /// more harm than a clean image that gets a model's answer, which is nearly always its label.
  static let suggestedAbove = 0.1

  /// Of each image, the probability that it carries a trigger.
  public let probabilities: [Double]
  /// The images that are suggested to be poisoned: those of which the probability is above ``suggestedAbove``.
  public let suggested: [Bool]
  /// The answer of the purified model to each image.
  public let answers: [Int32]
  /// The labels that the attacker seems to have given: at least a hundredth of their images is suggested.
  public let labels: [Int32]
  /// Whether it is answered as it is labelled by the infected model and otherwise by the purified one.
  public let isDisputed: [Bool]
  private let scores: [Double]

  /// How an identification went, for the record.
  public struct Report: Sendable, Codable, Equatable {
    /// Images that are suggested to be poisoned.
    public var suggested: Int
    /// The labels that the attacker seems to have given: at least a hundredth of their images is suggested.
    public var labels: [Int32]
    /// The probability that a poisoned image is more suspicious than another one, where the truth is known.
    public var auroc: Double?
    /// The shares of poisoned and of other images that are suggested, where the truth is known.
    public var tpr: Double?, fpr: Double?
    /// The share of the images that the attack left as they were which is suggested; only where it made cross images, which
    /// count among the others.
    public var fpr_untouched: Double?
  }

  /// What the infected model computes of each image.
  public struct Infected: Sendable {
    /// float32 (images, classes), row by row.
    public var logits: [Float]
    /// float32 (images, channels, places), row by row: what its final layer takes.
    public var features: [Float]
    /// Of each image.
    public var channels: Int
    /// Of each channel; 1 where the features have no place in the image.
    public var places: Int

    /// The features of some images.
    func points(_ images: [Int], further: [Float]? = nil) -> FeaturePoints? {
      FeaturePoints(features, images: images, channels: channels, places: places, further: further)
    }
  }

  /// Looks at every image.
  ///
  /// - Parameters:
  ///   - infected: the infected model's logits and features.
  ///   - purified: the purified model's logits, (images, classes), row by row.
  ///   - labels: the training set's.
  ///   - earlier: what was found with an earlier purified model, and stays so. A model that has learned the trigger again
  ///     finds less of it.
  ///   - usesFeatures: whether a discriminant looks for the trigger; else all disputed images are suggested.
  ///   - usesConfidences: whether what the purified model thinks of the labels counts as well. Of a label that it has not
  ///     seen, it disputes everything.
  public init(
    _ infected: Infected, purified: [Float], labels: [Int32], earlier: Identification? = nil,
    usesFeatures: Bool = true, usesConfidences: Bool = true
  ) {
    let before = Answers(infected.logits, labels: labels)
    let after = Answers(purified, labels: labels)
    let firm = after.leads.sorted()[labels.count / 2]
    let isFirm = after.leads.map { $0 >= firm }
    let isDisputed = labels.indices.map { before.margins[$0] > 0 && after.margins[$0] < 0 }
    var logOdds: [Double]
    if usesFeatures {
      let known = Self.knownLabels(after, labels)
      let firm = labels.indices.map { isDisputed[$0] && isFirm[$0] }
      logOdds = Self.logOdds(
        infected, after, labels, seeds: (firm, isDisputed), known: known, usesConfidences: usesConfidences)
    } else {
      logOdds = isDisputed.map { $0 ? Self.certain : -Self.certain }
    }
    if let earlier { logOdds = zip(logOdds, earlier.scores).map { max($0, $1) } }
    self.init(logOdds, labels, answers: after.classes, isDisputed: isDisputed)
  }

  private init(_ logOdds: [Double], _ labels: [Int32], answers: [Int32], isDisputed: [Bool]) {
    let probabilities = logOdds.map(TriggerDiscriminant.probability)
    let suggested = probabilities.map { $0 > Self.suggestedAbove }
    scores = logOdds
    self.probabilities = probabilities
    self.suggested = suggested
    self.isDisputed = isDisputed
    self.answers = answers
    self.labels = Self.suspectedLabels(labels) { suggested[$0] }.sorted()
  }

  /// The labels of which at least a hundredth of the images is suspected: fewer are strays.
  private static func suspectedLabels(_ labels: [Int32], _ isSuspected: (Int) -> Bool) -> some Collection<
    Int32
  > {
    Dictionary(grouping: labels.indices) { labels[$0] }.filter { _, images in
      100 * images.count { isSuspected($0) } >= images.count
    }.keys
  }

  /// The same after a look at labels of which the purified model has seen nothing, so that it disputes all of their images.
  /// Where one of a label's two groups is the trigger's, by the answers and by what was found, its odds count as well;
  /// otherwise nothing of that label counts: what was found may be the label itself. If that is so of all of them, nothing
  /// counts at all, as what was found of other labels may only look like theirs.
  func examining(_ splits: [LabelSplit], labels: [Int32]) -> Identification {
    var scores = scores
    var isTrigger = false
    for split in splits {
      let odds = split.triggerLogOdds(answers)
      func isFound(_ side: Bool, _ odds: [Double]) -> Bool {
        let group = split.images.indices.filter { (odds[$0] > 0) == side }
        return 2 * group.count { suggested[split.images[$0]] } > group.count
      }
      if let odds, isFound(true, odds), !isFound(false, odds) {
        isTrigger = true
        for (image, odds) in zip(split.images, odds) { scores[image] = max(scores[image], odds) }
      } else {
        for image in labels.indices where labels[image] == split.label { scores[image] = -Self.certain }
      }
    }
    if !isTrigger { scores = scores.map { _ in -Self.certain } }
    return Identification(scores, labels, answers: answers, isDisputed: isDisputed)
  }

  /// What counts of it after an `earlier` purified model's, which had not seen the `heldOut` labels. Where this one no longer
  /// disputes most of what that one found of them, it has learned the trigger again: its answers don't say what those images
  /// show, that one's do; and of other labels it has found nothing by the trigger, only hard images. Of labels that were not
  /// held out, what was found earlier may be a mistake that this one doesn't make.
  func doubtingRelapse(
    after earlier: Identification, of heldOut: Set<Int32>, labels: [Int32]
  ) -> Identification {
    let found = Dictionary(
      grouping: labels.indices.filter { earlier.suggested[$0] && heldOut.contains(labels[$0]) }
    ) { labels[$0] }
    let own = self.answers
    let relapsed = found.filter { _, images in
      2 * images.count { own[$0] != labels[$0] } < images.count
    }
    guard !relapsed.isEmpty else { return self }
    var (scores, answers) = (scores, own)
    for images in relapsed.values {
      for image in images { answers[image] = earlier.answers[image] }
    }
    for image in labels.indices where relapsed[labels[image]] == nil { scores[image] = earlier.scores[image] }
    return Identification(scores, labels, answers: answers, isDisputed: isDisputed)
  }

  /// The labels of which the purified model answers at least half of the images as labelled. Of others it disputes most
  /// images whether or not they carry a trigger.
  private static func knownLabels(_ after: Answers, _ labels: [Int32]) -> Set<Int32> {
    Set(
      Dictionary(grouping: labels.indices) { labels[$0] }.filter { _, images in
        2 * images.count { after.margins[$0] > 0 } >= images.count
      }.keys)
  }

  /// The largest log odds that a discriminant gives each image.
  private static func logOdds(
    _ infected: Infected, _ after: Answers, _ labels: [Int32], seeds: (firm: [Bool], all: [Bool]),
    known: Set<Int32>, usesConfidences: Bool
  ) -> [Double] {
    var best = [Double](repeating: -certain, count: labels.count)
    func seek(
      _ seeds: [Bool], among search: TriggerSearch,
      isApart: (TriggerDiscriminant) -> Bool = { $0.separation >= leastSeparation }
    ) {
      guard let found = search.logOdds(seeds: seeds, isApart: isApart) else { return }
      for (image, odds) in zip(search.images, found) { best[image] = max(best[image], odds) }
    }
    func isFound() -> Bool { best.contains { $0 > 0 } }

    let everywhere = TriggerSearch(
      infected, after, labels, images: Array(labels.indices), usesConfidences: usesConfidences)
    seek(seeds.firm, among: everywhere)
    // Where poison is much of a label, the purified model disputes most of that, too, however well it knows its class. The
    // firm seeds may have led to a part of the poison alone, and the rest shows many classes. Of a label that it has not seen it
    // disputes all.
    let led = suspectedLabels(labels) { best[$0] > 0 }.filter { label in
      !after.areFew(to: labels.indices.filter { labels[$0] == label && seeds.all[$0] && best[$0] <= 0 })
    }
    let begun = usesConfidences ? known.union(led) : known
    let starts = [seeds.firm, labels.indices.map { seeds.all[$0] && begun.contains(labels[$0]) }]
    seek(starts[1], among: everywhere)
    if isFound() { return best }
    for label in known.sorted() {
      for start in starts {
        seek(labels.indices.map { start[$0] && labels[$0] == label }, among: everywhere)
      }
    }
    if isFound() { return best }
    let channels = infected.channels
    let groups = Dictionary(grouping: labels.indices) { labels[$0] }.sorted { $0.key < $1.key }
    for (_, images) in groups where images.count >= LabelSplit.fewestImages(infected) {
      let search = TriggerSearch(infected, after, labels, images: images, usesConfidences: usesConfidences)
      seek(images.map { seeds.all[$0] }, among: search) { seen in
        let others = seen.logOdds.map { $0 <= 0 }
        return seen.contrast(features: channels) >= leastContrast
          && 2 * search.disputed(others) <= others.count { $0 }
      }
    }
    return best
  }

  /// The log odds of what is certain: a probability of 1, and of 0 as float32.
  private static let certain = 500.0

  /// The record, with the truth where it is known.
  public func report(_ truth: [ImageRole]?) -> Report {
    var report = Report(suggested: suggested.count { $0 }, labels: labels)
    guard let truth else { return report }
    func suggestedShare(_ roles: Set<ImageRole>) -> Double? {
      let images = truth.indices.filter { roles.contains(truth[$0]) }
      return images.isEmpty ? nil : Double(images.count { suggested[$0] }) / Double(images.count)
    }
    report.auroc = areaUnderROC(scores: scores.map { Float($0) }, isPositive: truth.isPoisoned)
    report.tpr = suggestedShare([.poisoned])
    report.fpr = suggestedShare([.clean, .cross])
    if truth.contains(.cross) { report.fpr_untouched = suggestedShare([.clean]) }
    return report
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
  /// The logarithm of the label's probability, at least -14.
  let confidences: [Float]
  /// The square root of the ``diversity(_:)`` of all answers, which has half of their entropy.
  private let few: Double

  /// Whether the answers to some images are as few as those to a class that the model doesn't know: with less than half of the
  /// entropy of its answers to all images. Images with a trigger look like anything.
  func areFew(to images: [Int]) -> Bool { Self.diversity(images.map { classes[$0] }) < few }

  /// How many answers there would be if all were equally frequent: the exponential of their entropy.
  static func diversity(_ answers: [Int32]) -> Double {
    let counts = Dictionary(grouping: answers) { $0 }.values.map(\.count).sorted()
    return exp(
      counts.reduce(0.0) { sum, count in
        let share = Double(count) / Double(answers.count)
        return sum - share * log(share)
      })
  }

  /// Reads a table of logits, (images, classes), row by row.
  init(_ logits: [Float], labels: [Int32]) {
    let width = logits.count / max(1, labels.count)
    var (classes, margins, leads, confidences) = ([Int32](), [Float](), [Float](), [Float]())
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
      let sum = row.reduce(Float(0)) { $0 + exp($1 - first) }
      confidences.append(max(-14, own - first - log(sum)))
      margins.append(own - (best == Int(label) ? second : first))
    }
    self.classes = classes
    self.margins = margins
    self.leads = leads
    self.confidences = confidences
    few = Self.diversity(classes).squareRoot()
  }
}
