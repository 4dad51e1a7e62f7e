import Foundation

/// What a model answers to adversarial examples: how many images of each true label (row) get each answer (column), and
/// what that says (the poster of Mu et al., CVPR 2023).
public struct PredictionMatrix: Sendable, Codable, Equatable {
  /// Images by true label and answer.
  public let counts: [[Int]]

  /// Creates a matrix from counts; all rows must be as long as there are rows.
  public init(counts: [[Int]]) { self.counts = counts }

  /// Counts the answers; labels and answers are below `classes`.
  public init(labels: [Int32], answers: [Int32], classes: Int) {
    var counts = [[Int]](repeating: Array(repeating: 0, count: classes), count: classes)
    for (label, answer) in zip(labels, answers) { counts[Int(label)][Int(answer)] += 1 }
    self.counts = counts
  }

  /// The matrix as a file may hold it; throws when it is not square.
  public init(from decoder: any Decoder) throws {
    counts = try [[Int]](from: decoder)
    // Sums of so many and such counts can't overflow.
    guard counts.count <= 10_000,
      counts.allSatisfy({ $0.count == counts.count && $0.allSatisfy { (0...1 << 31).contains($0) } })
    else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "this is no square matrix of counts"))
    }
  }

  public func encode(to encoder: any Encoder) throws { try counts.encode(to: encoder) }

  /// The number of classes.
  public var classes: Int { counts.count }
  /// The number of images.
  public var images: Int { rowTotals.reduce(0, +) }
  private var rowTotals: [Int] { counts.map { $0.reduce(0, +) } }
  /// Images by wrong answer.
  private var wrong: [Int] {
    (0..<classes).map { answer in (0..<classes).reduce(0) { $1 == answer ? $0 : $0 + counts[$1][answer] } }
  }

  /// How many images get a wrong answer.
  public var wrongAnswers: Int { wrong.reduce(0, +) }
  /// The share of images that do.
  public var misled: Double { ratio(wrongAnswers, images) }

  /// The one row over all images: the share of each label among the wrong answers; zeros where there is none.
  public var row: [Double] {
    let total = wrong.reduce(0, +)
    return wrong.map { ratio($0, total) }
  }

  /// For each label, the share of the images of all other labels that are answered with it: what the target of an
  /// all-to-one attack draws.
  public var inflow: [Double] {
    let (totals, all) = (rowTotals, images)
    return wrong.enumerated().map { ratio($1, all - totals[$0]) }
  }

  /// For each label, its share of the wrong answers to images of other labels: ``inflow``, whatever the share of wrong
  /// answers is.
  public var attraction: [Double] {
    let perRow = counts.enumerated().map { label, row in row.reduce(0, +) - row[label] }
    let all = perRow.reduce(0, +)
    return wrong.enumerated().map { ratio($1, all - perRow[$0]) }
  }

  /// The entropy of ``row`` in bits; uniform would be log2 of the number of classes.
  public var entropy: Double { row.reduce(0) { $1 > 0 ? $0 - $1 * log2($1) : $0 } }

  /// Each row as shares of its images; zeros where a label has none.
  public var shares: [[Double]] { zip(counts, rowTotals).map { row, total in row.map { ratio($0, total) } } }

  /// The rows' shares minus those of a benign model.
  public func excess(over benign: PredictionMatrix) -> [[Double]] {
    zip(shares, benign.shares).map { zip($0, $1).map { $0 - $1 } }
  }

  /// A chi-square statistic and its degrees of freedom.
  public struct ChiSquare: Sendable, Codable, Equatable {
    /// The statistic.
    public let statistic: Double
    /// Its degrees of freedom.
    public let degreesOfFreedom: Int
  }

  /// Pearson's statistic of the wrong answers against uniform ones: each wrong answer would go to any of the other
  /// classes - 1 labels alike, so that label j expects the sum, over the other true labels, of their wrong answers over
  /// classes - 1. Against classes - 1 degrees of freedom; images with a right answer do not count.
  public var chiSquare: ChiSquare {
    let perRow = counts.enumerated().map { label, row in Double(row.reduce(0, +) - row[label]) }
    let all = perRow.reduce(0, +)
    let statistic = wrong.enumerated().reduce(0.0) { sum, entry in
      let expected = (all - perRow[entry.offset]) / Double(max(1, classes - 1))
      return expected > 0 ? sum + pow(Double(entry.element) - expected, 2) / expected : sum
    }
    return ChiSquare(statistic: statistic, degreesOfFreedom: max(0, classes - 1))
  }

  /// Pearson's statistic that two models' wrong answers (``row``) have one distribution. Labels that neither model
  /// answers wrongly do not count.
  public func chiSquare(against benign: PredictionMatrix) -> ChiSquare {
    let (a, b) = (wrong.map(Double.init), benign.wrong.map(Double.init))
    let (sumA, sumB) = (a.reduce(0, +), b.reduce(0, +))
    guard sumA > 0, sumB > 0 else { return ChiSquare(statistic: 0, degreesOfFreedom: 0) }
    var (statistic, used) = (0.0, 0)
    for (x, y) in zip(a, b) where x + y > 0 {
      used += 1
      for (observed, share) in [(x, sumA / (sumA + sumB)), (y, sumB / (sumA + sumB))] {
        statistic += pow(observed - (x + y) * share, 2) / ((x + y) * share)
      }
    }
    return ChiSquare(statistic: statistic, degreesOfFreedom: max(0, used - 1))
  }

  /// The share of images that get the attacker's label, of those that have another one.
  public func targetShare(_ attack: AttackFile) -> Double {
    var (hits, all) = (0, 0)
    for (label, row) in counts.enumerated() {
      let target = Int(attack.targetLabel(of: Int32(label), classes: classes))
      guard target != label, target < classes else { continue }
      hits += row[target]
      all += row.reduce(0, +)
    }
    return ratio(hits, all)
  }
}

private func ratio(_ a: Int, _ b: Int) -> Double { b > 0 ? Double(a) / Double(b) : 0 }
