import Foundation
import Kernels

/// Tells images with a trigger from others of the same label by both models' logits: a mixture of two classes along one
/// linear discriminant (Fisher's), fitted by expectation maximisation.
///
/// Where the infected model sees a trigger its logits don't follow from what the purified model sees, whatever the image
/// shows. A discriminant of both models' logits weighs one against the other, so that it also finds triggered images whose
/// label is right, which no disagreement of answers betrays. Images of labels that nobody suspects help: they show what
/// logits without a trigger can be like.
struct TriggerMixture {
  /// The logarithm of the odds of each image to carry the trigger.
  private(set) var logOdds: [Double]
  /// Rounds of expectation maximisation; in trials, more changed little.
  private static let rounds = 12
  private var probabilities: [Double]
  private var scores: [Double]

  /// Images without a trigger.
  struct Reference {
    fileprivate let columns: [[Double]]
    fileprivate let sums: Sums

    /// - Parameters:
    ///   - tables: logits of (images, classes), row by row.
    ///   - rows: the images.
    init(_ tables: [[Float]], classes: Int, rows: [Int]) {
      columns = TriggerMixture.columns(tables, classes, rows)
      sums = Sums(columns)
    }
  }

  /// Fits the mixture.
  ///
  /// - Parameters:
  ///   - tables: logits of (images, classes), row by row.
  ///   - rows: the images to tell apart.
  ///   - suspects: for each of them, whether to start from it as one with a trigger.
  ///   - reference: all of its images together count at most as much as `rows`.
  init(_ tables: [[Float]], classes: Int, rows: [Int], suspects: [Bool], reference: Reference) {
    probabilities = suspects.map { $0 ? 1 : 0 }
    logOdds = suspects.map(Self.logOdds)
    scores = Array(repeating: 0, count: rows.count)
    let own = Self.columns(tables, classes, rows)
    let weight = min(1, Double(rows.count) / max(1, reference.sums.count))
    let all = Sums(own).adding(reference.sums, times: weight)
    for _ in 0..<Self.rounds {
      guard let direction = discriminant(own, all) else { return }
      scores = Self.project(own, on: direction)
      guard expect(clean: Self.project(reference.columns, on: direction), weight: weight) else { return }
    }
  }

  private static func columns(_ tables: [[Float]], _ classes: Int, _ rows: [Int]) -> [[Double]] {
    tables.flatMap { table in
      (0..<classes).map { column in rows.map { Double(table[$0 * classes + column]) } }
    }
  }

  private static func project(_ columns: [[Double]], on direction: [Double]) -> [Double] {
    var scores = [Double](repeating: 0, count: columns.first?.count ?? 0)
    for (column, weight) in zip(columns, direction) {
      for image in scores.indices { scores[image] += weight * column[image] }
    }
    return scores
  }

  static func probability(_ logOdds: Double) -> Double {
    1 / (1 + exp(-max(-certain, min(certain, logOdds))))
  }

  /// The odds of what is certain, one way or the other.
  static func logOdds(_ hasTrigger: Bool) -> Double { hasTrigger ? certain : -certain }

  /// What counts as certain.
  private static let certain = 50.0

  /// Sums over images: of each column, and of the products of each two.
  fileprivate struct Sums {
    var count: Double
    var sums: [Double]
    var products: [Double]

    init(_ columns: [[Double]]) {
      let width = columns.count
      count = Double(columns.first?.count ?? 0)
      sums = columns.map { $0.reduce(0, +) }
      products = [Double](repeating: 0, count: width * width)
      for a in 0..<width {
        for b in 0...a {
          var sum = 0.0
          for (x, y) in zip(columns[a], columns[b]) { sum += x * y }
          products[a * width + b] = sum
          products[b * width + a] = sum
        }
      }
    }

    func adding(_ other: Sums, times weight: Double) -> Sums {
      var result = self
      result.count += weight * other.count
      for index in sums.indices { result.sums[index] += weight * other.sums[index] }
      for index in products.indices { result.products[index] += weight * other.products[index] }
      return result
    }
  }

  /// Fisher's discriminant of the two classes as they are, `all` together; `nil` when one of them is empty.
  private func discriminant(_ columns: [[Double]], _ all: Sums) -> [Double]? {
    let width = columns.count
    let ones = probabilities.reduce(0, +)
    let others = all.count - ones
    guard ones > 0.5, others > 0.5 else { return nil }
    var (high, low) = ([Double](), [Double]())
    for (column, sum) in zip(columns, all.sums) {
      var own = 0.0
      for (value, probability) in zip(column, probabilities) { own += probability * value }
      high.append(own / ones)
      low.append((sum - own) / others)
    }
    var covariance = all.products
    var trace = 0.0
    for a in 0..<width {
      for b in 0..<width {
        covariance[a * width + b] -= ones * high[a] * high[b] + others * low[a] * low[b]
        covariance[a * width + b] /= all.count
      }
      trace += covariance[a * width + a]
    }
    for a in 0..<width { covariance[a * width + a] += 1e-3 * trace / Double(width) }
    return LinearSystem.solve(covariance, zip(high, low).map { $0 - $1 })
  }

  /// New probabilities from the scores; false when the classes can't be told apart. Images of the reference, `clean`, show
  /// what is normal, each counting `weight`: of a label that is poisoned through and through, too few others are left.
  private mutating func expect(clean: [Double], weight: Double) -> Bool {
    let count = Double(probabilities.count)
    let ones = probabilities.reduce(0, +)
    let others = count - ones + weight * Double(clean.count)
    guard ones > 0.5, others > 0.5 else { return false }
    var (high, low) = (0.0, weight * clean.reduce(0, +))
    for (probability, score) in zip(probabilities, scores) {
      high += probability * score
      low += (1 - probability) * score
    }
    high /= ones
    low /= others
    var (highVariance, lowVariance) = (0.0, 0.0)
    for score in clean { lowVariance += weight * (score - low) * (score - low) }
    for (probability, score) in zip(probabilities, scores) {
      highVariance += probability * (score - high) * (score - high)
      lowVariance += (1 - probability) * (score - low) * (score - low)
    }
    highVariance /= ones
    lowVariance /= others
    guard highVariance > 0, lowVariance > 0 else { return false }
    let prior = log(ones / max(0.5, count - ones)) + log(lowVariance / highVariance) / 2
    for (image, score) in scores.enumerated() {
      // Beyond either mean the nearer class has it: of two normal distributions the wider one would take both ends.
      if score >= high {
        logOdds[image] = Self.certain + score - high
      } else if score <= low {
        logOdds[image] = score - low - Self.certain
      } else {
        logOdds[image] =
          prior - (score - high) * (score - high) / (2 * highVariance)
          + (score - low) * (score - low) / (2 * lowVariance)
      }
      probabilities[image] = Self.probability(logOdds[image])
    }
    return true
  }
}

/// Small symmetric linear systems.
enum LinearSystem {
  /// Solves A x = b for a symmetric, positive definite A (row by row) by Cholesky's decomposition; `nil` when A is not.
  static func solve(_ matrix: [Double], _ right: [Double]) -> [Double]? {
    let size = right.count
    var lower = matrix
    for column in 0..<size {
      for earlier in 0..<column {
        let factor = lower[column * size + earlier]
        for row in column..<size { lower[row * size + column] -= lower[row * size + earlier] * factor }
      }
      let pivot = lower[column * size + column]
      guard pivot > 0, pivot.isFinite else { return nil }
      for row in column..<size { lower[row * size + column] /= pivot.squareRoot() }
    }
    var x = right
    for row in 0..<size {
      for column in 0..<row { x[row] -= lower[row * size + column] * x[column] }
      x[row] /= lower[row * size + row]
    }
    for row in stride(from: size - 1, through: 0, by: -1) {
      for later in row + 1..<size { x[row] -= lower[later * size + row] * x[later] }
      x[row] /= lower[row * size + row]
    }
    return x
  }
}
