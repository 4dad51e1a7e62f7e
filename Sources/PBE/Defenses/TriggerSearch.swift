/// A search for images with a trigger among some of the training images: by the features that the infected model computes of
/// them, and by what the purified model thinks of their labels.
final class TriggerSearch {
  /// A discriminant needs so many seeds, and must find so many images.
  static let fewestSeeds = 5
  /// The share of what was found that the purified model must dispute. Of triggered images it agrees to those whose label is
  /// right, and to some by mistake.
  static let leastDisputed = 0.7
  /// From this share of a label's images on a group may be the label's class itself, which the purified model doesn't know.
  static let mostOfLabel = 0.75

  /// The images.
  let images: [Int]
  private let infected: Identification.Infected
  private let purified: Answers
  private let labels: [Int32]
  private let usesConfidences: Bool
  private lazy var points = infected.points(images)
  // Only where a trigger seems to be found.
  private lazy var pointsWithLabel = infected.points(images, further: images.map { purified.confidences[$0] })

  /// `usesConfidences`: whether what the purified model thinks of the labels is one more feature in the end.
  init(
    _ infected: Identification.Infected, _ purified: Answers, _ labels: [Int32], images: [Int],
    usesConfidences: Bool
  ) {
    self.labels = labels
    self.infected = infected
    self.purified = purified
    self.images = images
    self.usesConfidences = usesConfidences
  }

  /// The logarithm of each image's odds to carry the trigger that is found from some of them; `nil` where none is found.
  ///
  /// - Parameters:
  ///   - seeds: for each image, whether the search starts with it.
  ///   - isApart: whether what the infected model's features tell apart are two groups.
  func logOdds(seeds: [Bool], isApart: (TriggerDiscriminant) -> Bool) -> [Double]? {
    guard seeds.count(where: { $0 }) >= Self.fewestSeeds, let points,
      let seen = TriggerDiscriminant(points, seeds: seeds), isApart(seen)
    else { return nil }
    let group = seen.logOdds.map { $0 > 0 }
    let size = group.count { $0 }
    guard size >= Self.fewestSeeds, Double(disputed(group)) >= Self.leastDisputed * Double(size),
      2 * imagesOfUnknownClasses(group) <= size
    else { return nil }
    guard usesConfidences else { return seen.logOdds }
    return pointsWithLabel.flatMap { TriggerDiscriminant($0, seeds: group)?.logOdds }
  }

  /// How many images of a group the purified model answers otherwise than they are labelled.
  func disputed(_ group: [Bool]) -> Int {
    zip(images, group).count { $1 && purified.margins[$0] < 0 }
  }

  /// How many images of a group are of classes that the purified model doesn't know: they are most of their label, and its
  /// answers to them are few.
  private func imagesOfUnknownClasses(_ group: [Bool]) -> Int {
    let found = Dictionary(grouping: zip(images, group).filter(\.1).map(\.0)) { labels[$0] }
    return found.reduce(0) { sum, found in
      let isMost = Double(found.value.count) >= Self.mostOfLabel * Double(labels.count { $0 == found.key })
      return isMost && purified.areFew(to: found.value) ? sum + found.value.count : sum
    }
  }
}
