import Foundation
import Kernels

/// Tells images with a trigger from the others by both models' logits: a mixture of two classes along one linear
/// discriminant (Fisher's), fitted by expectation maximisation.
///
/// Where the infected model sees a trigger its logits don't follow from what the purified model sees, whatever the image
/// shows. A discriminant of both models' logits weighs one against the other, so that it also finds triggered images whose
/// label is right, which no disagreement of answers betrays. It starts from images that the infected model answers firmly
/// and the purified one otherwise.
struct TriggerMixture {
  /// The probability of each image to carry the trigger.
  private(set) var probabilities: [Double]
  /// The discriminant of each image; high is suspicious.
  private(set) var scores: [Double]
  /// The distance of the two classes' means, in their standard deviations' root mean square.
  private(set) var separation = 0.0
  /// The share of the images that the mixture gives to the trigger.
  var share: Double { probabilities.reduce(0, +) / Double(max(1, probabilities.count)) }

  /// Fits the mixture.
  ///
  /// - Parameters:
  ///   - logits: tables of (images, classes), row by row.
  ///   - suspects: the images to start from as those with a trigger.
  ///   - iterations: rounds of expectation maximisation.
  init(_ logits: [[Float]], suspects: [Bool], iterations: Int) {
    let count = suspects.count
    probabilities = suspects.map { $0 ? 1 : 0 }
    scores = Array(repeating: 0, count: count)
    let columns = logits.flatMap { table -> [[Double]] in
      let width = table.count / max(1, count)
      return (0..<width).map { column in (0..<count).map { Double(table[$0 * width + column]) } }
    }
    let moments = Self.moments(columns)
    for _ in 0..<iterations {
      guard let direction = discriminant(columns, moments) else { return }
      for image in 0..<count { scores[image] = 0 }
      for (column, weight) in zip(columns, direction) {
        for image in 0..<count { scores[image] += weight * column[image] }
      }
      guard expect() else { return }
    }
  }

  /// The sums of products of each two columns.
  private static func moments(_ columns: [[Double]]) -> [Double] {
    let width = columns.count
    var result = [Double](repeating: 0, count: width * width)
    for a in 0..<width {
      for b in 0...a {
        var sum = 0.0
        for (x, y) in zip(columns[a], columns[b]) { sum += x * y }
        result[a * width + b] = sum
        result[b * width + a] = sum
      }
    }
    return result
  }

  /// Fisher's discriminant of the two classes as they are; `nil` when one of them is empty.
  private func discriminant(_ columns: [[Double]], _ moments: [Double]) -> [Double]? {
    let width = columns.count
    let count = Double(probabilities.count)
    let ones = probabilities.reduce(0, +)
    guard ones > 0.5, count - ones > 0.5 else { return nil }
    var (high, low) = ([Double](), [Double]())
    for column in columns {
      var (a, all) = (0.0, 0.0)
      for (value, probability) in zip(column, probabilities) {
        a += probability * value
        all += value
      }
      high.append(a / ones)
      low.append((all - a) / (count - ones))
    }
    var covariance = moments
    var trace = 0.0
    for a in 0..<width {
      for b in 0..<width {
        covariance[a * width + b] =
          (moments[a * width + b] - ones * high[a] * high[b] - (count - ones) * low[a] * low[b]) / count
      }
      trace += covariance[a * width + a]
    }
    for a in 0..<width { covariance[a * width + a] += 1e-3 * trace / Double(width) }
    return LinearSystem.solve(covariance, zip(high, low).map { $0 - $1 })
  }

  /// New probabilities from the scores; false when the classes can't be told apart.
  private mutating func expect() -> Bool {
    let count = Double(probabilities.count)
    let ones = probabilities.reduce(0, +)
    var (high, low) = (0.0, 0.0)
    for (probability, score) in zip(probabilities, scores) {
      high += probability * score
      low += (1 - probability) * score
    }
    high /= ones
    low /= count - ones
    var (highVariance, lowVariance) = (0.0, 0.0)
    for (probability, score) in zip(probabilities, scores) {
      highVariance += probability * (score - high) * (score - high)
      lowVariance += (1 - probability) * (score - low) * (score - low)
    }
    highVariance /= ones
    lowVariance /= count - ones
    guard highVariance > 0, lowVariance > 0 else { return false }
    separation = (high - low) / ((highVariance + lowVariance) / 2).squareRoot()
    let (logHigh, logLow) = (log(ones / count), log(1 - ones / count))
    for (image, score) in scores.enumerated() {
      // Beyond either mean the nearer class has it: of two normal distributions the wider one would take both ends.
      if score >= high || score <= low {
        probabilities[image] = score >= high ? 1 : 0
        continue
      }
      let a = logHigh - (score - high) * (score - high) / (2 * highVariance) - log(highVariance) / 2
      let b = logLow - (score - low) * (score - low) / (2 * lowVariance) - log(lowVariance) / 2
      probabilities[image] = 1 / (1 + exp(max(-50, min(50, b - a))))
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
