import Kernels
import Testing

@testable import PBE

@Suite("Identification of poisoned images")
struct IdentificationTests {
  /// Logits of `count` images of 5 classes: what the image shows is 4 above the rest, with noise; a trigger adds 8 to
  /// class 2 in the infected model only.
  private struct Made {
    var infected: [Float] = [], purified: [Float] = []
    var labels: [Int32] = [], truth: [Bool] = []

    init(count: Int, poisoned: Int, seed: UInt64, trigger: Float = 8) {
      var stream = PhiloxStream(seed: seed, purpose: 0x4944)
      func noise() -> Float { (0..<6).reduce(Float(-3)) { sum, _ in sum + stream.nextUniform() } }
      for image in 0..<count {
        let shown = image % 5
        // Of each class as many.
        let isPoisoned = poisoned > 0 && image / 5 % (count / poisoned) == 0
        truth.append(isPoisoned)
        labels.append(Int32(isPoisoned ? 2 : shown))
        for label in 0..<5 {
          let content: Float = label == shown ? 4 : 0
          infected.append(content + noise() + (isPoisoned && label == 2 ? trigger : 0))
          purified.append(content + noise())
        }
      }
    }
  }

  /// Also those whose label is right: a fifth of the poisoned images show class 2.
  @Test(arguments: [20_000, 4000, 1000, 400]) func findsTriggers(poisoned: Int) throws {
    let made = Made(count: 40_000, poisoned: poisoned, seed: 1)
    let found = Identification(
      infected: made.infected, purified: made.purified, labels: made.labels)
    let report = found.report(made.truth)
    #expect(report.suggested == found.suggested.count { $0 })
    #expect(try #require(report.auroc) > 0.995)
    #expect(try #require(report.tpr) > 0.95 && (try #require(report.fpr)) < 0.01)
    let unsuspected = found.suggested.indices.filter { made.truth[$0] && $0 % 5 == 2 }
    #expect(unsuspected.count { found.suggested[$0] } > unsuspected.count * 8 / 10)
    let disputed = Identification(
      infected: made.infected, purified: made.purified, labels: made.labels, usesMixture: false)
    #expect(!unsuspected.contains { disputed.suggested[$0] } && disputed.labels == [2])
    #expect(found.answers.count == 40_000 && found.labels == [2])
    let unknown = found.report(nil)
    #expect(unknown.auroc == nil && unknown.tpr == nil && unknown.suggested == report.suggested)
  }

  /// Where nothing is poisoned nothing is suggested: neither when the models agree, nor when the purified one is merely
  /// worse, nor when a label has a few odd images.
  @Test(arguments: [0, 5]) func suspectsNothing(odd: Int) {
    var made = Made(count: 10_000, poisoned: 0, seed: 2)
    let agreeing = Identification(infected: made.infected, purified: made.infected, labels: made.labels)
    #expect(agreeing.labels == [] && !agreeing.suggested.contains(true))
    #expect(agreeing.report(made.truth).auroc == nil)
    for (image, label) in made.labels.enumerated() {
      // Every 7th image is hard: both see another class, less firmly.
      if image % 7 == 0 { made.infected[image * 5 + Int(label)] -= 3 }
      if image % 5 == 0 { made.purified[image * 5 + Int(label)] -= 4 }
    }
    for image in 0..<odd {
      made.labels[image * 5] = 3
      made.infected[image * 25 + 3] += 8
    }
    let found = Identification(infected: made.infected, purified: made.purified, labels: made.labels)
    #expect(found.labels == [] && !found.suggested.contains(true))
  }

  /// Nearly all images of the attacker's label may carry the trigger, and some be answered far more firmly than others: the
  /// mixture starts from all that are disputed. The label's few clean images are suggested, too.
  @Test func poisonedThroughAndThrough() throws {
    var made = Made(count: 40_000, poisoned: 4000, seed: 5)
    let clean = made.labels.indices.filter { made.labels[$0] == 2 && !made.truth[$0] }
    let triggered = made.labels.indices.filter { $0 % 5 == 2 && made.truth[$0] }
    let out = Set(clean.filter { $0 % 100 != 7 } + triggered)
    let kept = made.labels.indices.filter { !out.contains($0) }
    made.infected = kept.flatMap { made.infected[5 * $0..<5 * $0 + 5] }
    made.purified = kept.flatMap { made.purified[5 * $0..<5 * $0 + 5] }
    made.labels = kept.map { made.labels[$0] }
    made.truth = kept.map { made.truth[$0] }
    for image in made.truth.indices where made.truth[image] {
      made.infected[5 * image + 2] += image % 2 == 0 ? 4 : -3
    }
    let found = Identification(infected: made.infected, purified: made.purified, labels: made.labels)
    let report = found.report(made.truth)
    #expect(found.labels == [2])
    #expect(try #require(report.tpr) > 0.98 && found.suggested.count { $0 } <= made.labels.count { $0 == 2 })
  }

  /// A trigger that the infected model does not answer firmly makes its label doubtful: disputed images are suspected.
  @Test func doubt() throws {
    let made = Made(count: 40_000, poisoned: 4000, seed: 4, trigger: 5)
    let found = Identification(infected: made.infected, purified: made.purified, labels: made.labels)
    let unmixed = Identification(
      infected: made.infected, purified: made.purified, labels: made.labels, usesMixture: false)
    #expect(found.labels == [2] && found.suggested == unmixed.suggested)
    for (image, isSuggested) in found.suggested.enumerated() where isSuggested {
      #expect(made.labels[image] == 2 && found.answers[image] != 2)
    }
    let disputed = made.truth.indices.filter { made.truth[$0] && $0 % 5 != 2 }
    #expect(disputed.count { found.suggested[$0] } > disputed.count * 95 / 100)
    #expect(disputed.contains { found.isFirm[$0] } && disputed.contains { !found.isFirm[$0] })
  }

  /// Every label may be the attacker's (all-to-all): there, triggered images have the label that follows theirs.
  @Test func allToAll() throws {
    var made = Made(count: 20_000, poisoned: 0, seed: 3)
    for image in stride(from: 0, to: 20_000, by: 11) {
      let label = (made.labels[image] + 1) % 5
      made.labels[image] = label
      made.infected[image * 5 + Int(label)] += 8
      made.truth[image] = true
    }
    let found = Identification(infected: made.infected, purified: made.purified, labels: made.labels)
    #expect(found.labels == [0, 1, 2, 3, 4])
    let report = found.report(made.truth)
    #expect(try #require(report.tpr) > 0.95 && (try #require(report.fpr)) < 0.01)
  }

  @Test func linearSystem() throws {
    let x = try #require(LinearSystem.solve([4, 2, 0, 2, 5, 1, 0, 1, 3], [2, -1, 7]))
    for (row, right) in zip([[4.0, 2, 0], [2, 5, 1], [0, 1, 3]], [2.0, -1, 7]) {
      #expect(abs(zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } - right) < 1e-12)
    }
    #expect(LinearSystem.solve([1, 2, 2, 1], [1, 1]) == nil, "it is not positive definite")
  }

  @Test func answers() {
    let answers = Answers([1, 3, 2, 5, 5, 0], labels: [1, 2])
    #expect(answers.classes == [1, 0])
    #expect(answers.margins == [1, -5])
    #expect(answers.leads == [1, 0])
  }

  /// The least active features go first, until the accuracy suffers.
  @Test func featurePruning() {
    // Feature 0 tells the two classes apart, feature 2 is never active, feature 1 hardly and does nothing.
    let features: [Float] = [4, 0.1, 0, 0.5, 0.1, 0, 4, 0.1, 0, 0.5, 0.1, 0]
    let matrix: [Float] = [1, 0, 3, -1, 0, 5]
    let bias: [Float] = [-2, 2]
    var logits: [Float] = []
    for image in 0..<4 {
      for label in 0..<2 {
        var sum = bias[label]
        for feature in 0..<3 { sum += matrix[label * 3 + feature] * features[image * 3 + feature] }
        logits.append(sum)
      }
    }
    let kept = FeaturePruning.keep(
      features: features, logits: logits, matrix: matrix, count: 3, labels: [0, 1, 0, 1], tolerance: 0.1)
    #expect(kept == [1, 0, 0])
    // The last feature always stays, whatever the tolerance.
    let all = FeaturePruning.keep(
      features: features, logits: logits, matrix: matrix, count: 3, labels: [0, 1, 0, 1], tolerance: 1)
    #expect(all == [1, 0, 0])
    // A feature that matters ends it.
    let some = FeaturePruning.keep(
      features: [4, 0.1, 0, 4, 0.3, 0], logits: [-1, 0, 1, 0], matrix: [0, 10, 0, 0, 0, 0], count: 3,
      labels: [1, 0], tolerance: 0.1)
    #expect(some == [1, 1, 0])
  }
}
