import Foundation
import Kernels

/// The features that a network computes of each image, as points, and how they are spread.
///
/// Features that have a place in the image are averaged over it.
struct FeaturePoints {
  /// Of each feature all images, their mean subtracted.
  private let columns: [[Float]]
  /// The lower triangle of the covariance's Cholesky factor. A thousandth of the mean variance is added to each variance, as
  /// features that never change would make it singular; more where there are hardly more images than features, which
  /// could tell any images from any others.
  private let factor: [Double]

  /// - Parameters:
  ///   - table: float32 (images, channels, places).
  ///   - images: those of the table that count.
  ///   - places: of each channel; 1 where there is no more.
  ///   - further: one more number per image that counts, if wanted. It weighs as much as the channels do on average.
  /// - Returns: `nil` when nothing varies, or something is not finite.
  init?(_ table: [Float], images: [Int], channels: Int, places: Int, further: [Float]? = nil) {
    let count = images.count
    guard count > 1, channels > 0 else { return nil }
    var columns = (0..<channels).map { channel in
      images.map { image -> Float in
        let first = (image * channels + channel) * places
        return table[first..<first + places].reduce(0, +) / Float(places)
      }
    }
    if let further { columns.append(further) }
    var variances: [Double] = []
    for column in columns.indices {
      let mean = Float(columns[column].reduce(0.0) { $0 + Double($1) } / Double(count))
      for image in 0..<count { columns[column][image] -= mean }
      variances.append(columns[column].reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count))
    }
    let variance = variances[..<channels].reduce(0, +) / Double(channels)
    if further != nil, variances[channels] > 0 {
      let scale = Float((variance / variances[channels]).squareRoot())
      for image in 0..<count { columns[channels][image] *= scale }
    }
    let crowding = Double(channels) / Double(count)
    guard variance > 0, let factor = Self.factor(columns, ridge: (1e-3 + crowding * crowding) * variance)
    else { return nil }
    self.columns = columns
    self.factor = factor
  }

  private static func factor(_ columns: [[Float]], ridge: Double) -> [Double]? {
    let width = columns.count
    var covariance = [Double](repeating: 0, count: width * width)
    for a in 0..<width {
      for b in 0...a {
        var sum = 0.0
        for (x, y) in zip(columns[a], columns[b]) { sum += Double(x) * Double(y) }
        covariance[a * width + b] = sum / Double(columns[a].count) + (a == b ? ridge : 0)
      }
    }
    return Cholesky.factor(covariance, width)
  }

  /// The mean of the points, each counted as much as its weight says; the weights' sum must be above zero.
  func mean(_ weights: [Double]) -> [Double] {
    let total = weights.reduce(0, +)
    return columns.map { zip($0, weights).reduce(0) { $0 + Double($1.0) * $1.1 } / total }
  }

  /// Each point's place on the line that tells two groups apart best whose means differ by `difference`, when both are
  /// spread alike: Fisher's linear discriminant.
  func scores(apart difference: [Double]) -> [Double] {
    project(Cholesky.solve(factor, difference))
  }

  /// Each point's place along the directions in which the points vary most, the most first: principal components, by power
  /// iteration. Directions that vary about alike come mixed.
  func principalScores(_ wanted: Int) -> [[Double]] {
    let width = columns.count
    var directions: [[Double]] = []
    while directions.count < min(wanted, width) {
      // Any start does that is not at right angles to what is sought.
      var next = columns.indices.map { 1 / Double(1 + ($0 + directions.count) % width) }
      for _ in 0..<Self.iterations {
        next = Cholesky.multiply(factor, next)
        for other in directions {
          let along = zip(next, other).reduce(0) { $0 + $1.0 * $1.1 }
          for column in next.indices { next[column] -= along * other[column] }
        }
        let length = next.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard length > 0 else { return directions.map(project) }
        for column in next.indices { next[column] /= length }
      }
      directions.append(next)
    }
    return directions.map(project)
  }

  private static let iterations = 50

  private func project(_ direction: [Double]) -> [Double] {
    var scores = [Double](repeating: 0, count: count)
    for (column, weight) in zip(columns, direction) {
      for image in scores.indices { scores[image] += weight * Double(column[image]) }
    }
    return scores
  }

  /// Images.
  var count: Int { columns.first?.count ?? 0 }
}

/// Two groups of images by the features that a network computes of them: those in which it sees a trigger, and the others.
/// A mixture of two normal distributions with one covariance, fitted by expectation maximisation.
///
/// A network that answers to a trigger must have features that tell it from the image's own content. So whichever images
/// the trigger is on and whatever they are answered, one direction in the features has it; some images are enough to
/// find the direction, and it finds the others, also those whose label is right.
struct TriggerDiscriminant {
  /// The logarithm of each image's odds to belong to the first group.
  private(set) var logOdds: [Double]
  /// The squared distance of the groups' means in units of the variance within them. Of one normal distribution cut in two
  /// it is 7 at most; two groups hardly overlap from 16 on.
  private(set) var separation = 0.0

  /// Fits the mixture; `nil` when the groups can't be told apart.
  ///
  /// - Parameters:
  ///   - points: of all images.
  ///   - seeds: for each of them, whether the first group starts with it.
  init?(_ points: FeaturePoints, seeds: [Bool]) {
    var probabilities = seeds.map { $0 ? 1.0 : 0 }
    logOdds = probabilities
    for _ in 0..<Self.rounds {
      let ones = probabilities.reduce(0, +)
      let others = Double(points.count) - ones
      guard ones > 0.5, others > 0.5 else { return nil }
      // The points' mean is zero.
      let high = points.mean(probabilities)
      let scores = points.scores(apart: high.map { $0 * Double(points.count) / others })
      var (above, below) = (0.0, 0.0)
      for (score, probability) in zip(scores, probabilities) {
        above += probability * score / ones
        below += (1 - probability) * score / others
      }
      var variance = 0.0
      for (score, probability) in zip(scores, probabilities) {
        variance +=
          probability * (score - above) * (score - above) + (1 - probability) * (score - below)
          * (score - below)
      }
      variance /= Double(points.count)
      guard variance > 0, above > below else { return nil }
      separation = (above - below) * (above - below) / variance
      let prior = log(ones / others)
      logOdds = scores.map { prior + (above - below) * ($0 - (above + below) / 2) / variance }
      let next = logOdds.map(Self.probability)
      let change = zip(next, probabilities).reduce(0) { $0 + abs($1.0 - $1.1) }
      probabilities = next
      if change < 0.5 { break }
    }
  }

  /// The variance between the groups in units of that within them, p (1 - p) d^2 with the share p of one group and d^2, the
  /// ``separation``; less what the best of so many directions finds in any images.
  func contrast(features: Int) -> Double {
    let count = Double(logOdds.count)
    let share = Double(logOdds.count { $0 > 0 }) / count
    return (1 + share * (1 - share) * separation) * (1 - Double(features) / count) - 1
  }

  /// Rounds of expectation maximisation at most; it ends when all probabilities together change by less than half an image.
  private static let rounds = 40

  static func probability(_ logOdds: Double) -> Double { 1 / (1 + exp(-max(-500, min(500, logOdds)))) }
}

/// Cholesky's decomposition of symmetric, positive definite matrices, row by row in double precision.
enum Cholesky {
  /// The lower triangle L with A = L L'; `nil` when A, of which the lower triangle is read, is not positive definite.
  static func factor(_ matrix: [Double], _ size: Int) -> [Double]? {
    var lower = matrix
    for row in 0..<size {
      for column in 0...row {
        var sum = lower[row * size + column]
        for earlier in 0..<column { sum -= lower[row * size + earlier] * lower[column * size + earlier] }
        if column < row {
          lower[row * size + column] = sum / lower[column * size + column]
        } else {
          guard sum > 0, sum.isFinite else { return nil }
          lower[row * size + row] = sum.squareRoot()
        }
      }
    }
    return lower
  }

  /// A `vector`, by A's factor.
  static func multiply(_ lower: [Double], _ vector: [Double]) -> [Double] {
    let size = vector.count
    var across = [Double](repeating: 0, count: size)
    for row in 0..<size {
      for column in 0...row { across[column] += lower[row * size + column] * vector[row] }
    }
    return (0..<size).map { row in
      (0...row).reduce(0) { $0 + lower[row * size + $1] * across[$1] }
    }
  }

  /// Solves A x = `right` by A's factor.
  static func solve(_ lower: [Double], _ right: [Double]) -> [Double] {
    let size = right.count
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
