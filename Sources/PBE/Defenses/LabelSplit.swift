import Foundation

/// A label whose images fall apart into two groups by the features that the infected model computes of them: those that show
/// what the label says, and those with a trigger that the attacker gave it (activation clustering; Chen et al., "Detecting
/// backdoor attacks on deep neural networks by activation clustering", 2018). Which is which, the features don't tell.
struct LabelSplit {
  let label: Int32
  /// The images of the label that are answered so.
  let images: [Int]
  /// The logarithm of each one's odds to belong to the first group.
  let logOdds: [Double]
  /// ``TriggerDiscriminant/contrast(features:)`` of the groups.
  let contrast: Double
  /// The contrast summed over the images: by how much the groups matter among all that a network tells apart.
  private var difference: Double { contrast * Double(images.count) }

  /// From this ``TriggerDiscriminant/contrast(features:)`` on they are two groups. Labels of clean images had up to 5.7,
  /// and up to 7.3 on small VGGs (docs/trials.md).
  static let leastContrast = 7.0
  /// And also those of the one label of which the ``difference`` is so many times that of any other: where a trigger's
  /// group leaves few others the contrast is small (4.4 and 4.5 with 37 times as many; docs/trials.md).
  static let leastLead = 2.0
  /// It has this contrast at least.
  private static let leastLeadingContrast = 4.0
  /// How many times as diverse the trigger's group is, at least. On victims it was 1.9 and 6.5 times (docs/trials.md).
  static let leastDiversity = 1.5
  /// There must be so many images for each feature: where there are few, any of them can be told from the others.
  private static let imagesPerFeature = 6.0
  /// Where no label has so many, those are tested that have so many. It is rougher, but a trigger that most images of a label
  /// carry is hardly found otherwise (docs/trials.md, "Of few images").
  private static let fewImagesPerFeature = 1.5
  /// A group begins with one of these shares of the label's images, those furthest out in a direction. A fit finds the
  /// nearest optimum, and either group may be the small one: of a label with few images it is the clean one.
  private static let tails = [0.03, 0.1, 0.3]

  /// The labels that fall apart. None where most of several do that have enough images, as with an attack on all labels, or
  /// where there are only two labels: too little would be left without them. Only images count that are answered as they
  /// are labelled.
  static func all(_ infected: Identification.Infected, _ labels: [Int32]) -> [LabelSplit] {
    let groups = imagesByLabel(infected, labels)
    let most = groups.values.map(\.count).max() ?? 0
    let fewest =
      most >= fewestImages(infected)
      ? fewestImages(infected) : images(fewImagesPerFeature, for: infected)
    let tested = groups.filter { $0.value.count >= fewest }
    let candidates = tested.sorted { $0.key < $1.key }
      .compactMap { LabelSplit(label: $0.key, images: $0.value, infected) }
    let clear = candidates.filter { $0.contrast >= leastContrast }
    let clearOrLeading = candidates.filter { $0.contrast >= leastContrast || $0.isLeading(of: candidates) }
    func leavesEnough(_ splits: [LabelSplit]) -> Bool {
      groups.count > 2 && (splits.count == 1 || 2 * splits.count <= tested.count)
    }
    // Without others to compare it with no label leads.
    if tested.count > 1, leavesEnough(clearOrLeading) { return clearOrLeading }
    return leavesEnough(clear) ? clear : []
  }

  /// The images that are answered as they are labelled.
  private static func imagesByLabel(_ infected: Identification.Infected, _ labels: [Int32]) -> [Int32: [Int]]
  {
    let margins = Answers(infected.logits, labels: labels).margins
    return Dictionary(grouping: labels.indices.filter { margins[$0] > 0 }) { labels[$0] }
  }

  /// How many images it takes to look at those of a label by themselves.
  static func fewestImages(_ infected: Identification.Infected) -> Int {
    images(imagesPerFeature, for: infected)
  }

  /// How many images a label must have where all labels have few; `nil` where one has so many.
  static func missingImages(_ infected: Identification.Infected, _ labels: [Int32]) -> Int? {
    let fewest = images(fewImagesPerFeature, for: infected)
    return imagesByLabel(infected, labels).values.contains { $0.count >= fewest } ? nil : fewest
  }

  private static func images(_ perFeature: Double, for infected: Identification.Infected) -> Int {
    Int((perFeature * Double(infected.channels)).rounded(.up))
  }

  private func isLeading(of all: [LabelSplit]) -> Bool {
    contrast >= Self.leastLeadingContrast
      && all.allSatisfy { $0.label == label || difference >= Self.leastLead * $0.difference }
  }

  /// The logarithm of each image's odds to carry a trigger, by the answers of a model that has never seen the label: images of
  /// one class look like few others, those with a trigger like anything. `nil` when both groups are about as diverse (by
  /// the exponential of the answers' entropy, which is how many answers there are when all are equally frequent).
  func triggerLogOdds(_ answers: [Int32]) -> [Double]? {
    let diversities = [true, false].map { side in
      let group = images.indices.filter { (logOdds[$0] > 0) == side }
      return Answers.diversity(group.map { answers[images[$0]] })
    }
    if diversities[0] >= Self.leastDiversity * diversities[1] { return logOdds }
    return diversities[1] >= Self.leastDiversity * diversities[0] ? logOdds.map { -$0 } : nil
  }
}

extension LabelSplit {
  /// The two groups that differ most; `nil` when there are none.
  private init?(label: Int32, images: [Int], _ infected: Identification.Infected) {
    guard let points = infected.points(images) else { return nil }
    var (contrast, best) = (0.0, [Double]())
    for scores in points.principalScores(2) {
      let order = scores.indices.sorted { (scores[$0], $0) < (scores[$1], $1) }
      let starts = Self.tails.flatMap { tail in
        let few = Int((tail * Double(order.count)).rounded(.up))
        return [order.prefix(few), order.suffix(few)]
      }
      for start in starts {
        var seeds = [Bool](repeating: false, count: order.count)
        for index in start { seeds[index] = true }
        guard let found = TriggerDiscriminant(points, seeds: seeds) else { continue }
        let between = found.contrast(features: infected.channels)
        if between > contrast { (contrast, best) = (between, found.logOdds) }
      }
    }
    guard contrast > 0 else { return nil }
    self.init(label: label, images: images, logOdds: best, contrast: contrast)
  }
}
