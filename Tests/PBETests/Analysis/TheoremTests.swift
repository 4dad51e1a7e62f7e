import Foundation
import Kernels
import Testing

@testable import PBE

/// Theorem 1: the bound, and the models that it is held against.
struct TheoremTests {
  /// u, tau, the bound at K = 9.
  static let values: [(u: Double, tau: Double, bound: Double)] = [
    (0.1, 0, 0.0302), (0.1, 4, 0.1367), (0.1, 8, 0.3692), (1, 0, 0.1793), (1, 4, 0.3263), (1, 8, 0.3813),
  ]

  @Test(arguments: values.indices)
  func boundValues(_ index: Int) {
    let (u, tau, bound) = Self.values[index]
    #expect(abs(AlignmentBound.value(logitChange: u, margin: tau, competitors: 9) - bound) < 5e-5)
    // l and |P| count through l |P|^2 alone.
    let other = AlignmentBound.value(strength: u / 4, triggerNorm: 2, margin: tau, competitors: 9)
    #expect(abs(other - bound) < 5e-5)
  }

  @Test func boundIsMonotonic() {
    func bound(_ u: Double, _ tau: Double, _ k: Int) -> Double {
      AlignmentBound.value(logitChange: u, margin: tau, competitors: k)
    }
    for u in [0.01, 0.1, 1, 10] {
      for tau in [0.0, 1, 4, 8] {
        #expect(bound(u, tau, 9) > 0 && bound(u, tau, 9) < AlignmentBound.limit)
        #expect(bound(2 * u, tau, 9) > bound(u, tau, 9))
        #expect(bound(u, tau + 1, 9) > bound(u, tau, 9))
        #expect(bound(u, tau, 10) < bound(u, tau, 9))
      }
    }
  }

  @Test func boundHasLimits() {
    let limit = (2.0.squareRoot() - 1) / ((2.0.squareRoot() - 1) * (2.0.squareRoot() - 1) + 1).squareRoot()
    #expect(abs(AlignmentBound.limit - limit) < 1e-12)
    #expect(abs(AlignmentBound.limit - 0.3826834) < 1e-7)
    for (u, tau) in [(Double.infinity, 0.0), (1, .infinity), (1e12, 0), (1, 700), (1, 1e9)] {
      #expect(abs(AlignmentBound.value(logitChange: u, margin: tau, competitors: 9) - limit) < 1e-9)
    }
    #expect(AlignmentBound.value(logitChange: 0, margin: 4, competitors: 9) == 0)
    #expect(AlignmentBound.value(logitChange: 1e-9, margin: 4, competitors: 9) < 1e-7)
  }

  /// One gradient: the formula, and the same by the model. It violates the bound for c = 1 and 2.
  @Test func closedForm() throws {
    for (c, cosine) in [(1.0, 0.105), (2, 0.206), (5, 0.466)] {
      #expect(abs(ClosedForm.gradientCosine(strength: c, competitors: 9) - cosine) < 5e-4)
    }
    let checks = ClosedForm.checks()
    let single = checks.filter { $0.name.hasSuffix("one gradient") }
    #expect(single.count == 12 && checks.count == 24)
    for check in single {
      let formula = ClosedForm.gradientCosine(strength: check.logitChange, competitors: 9)
      #expect(abs(check.cosine - formula) < 1e-9, "\(check.name)")
    }
    let one = try #require(single.first { $0.logitChange == 1 && $0.margin == 4 })
    let five = try #require(single.first { $0.logitChange == 5 && $0.margin == 4 })
    #expect(one.isViolated && abs(one.bound - 0.3263) < 5e-5)
    #expect(!five.isViolated)
    // Many steps turn towards the trigger.
    let many = try #require(
      checks.first { $0.name.contains("PGD") && $0.logitChange == 2 && $0.margin == 4 })
    #expect(!many.isViolated && many.cosine > 0.5)
  }

  /// The pattern to expect: benign about 1 / (C - 1) or below, infected far above, falling with |P|.
  @Test func learnedModel() {
    let problem = GaussianProblem()
    let results = [0.0, 1, 2, 3].map { problem.result(triggerNorm: $0) }
    #expect(results[0].targetShare < 1.2 / 9)
    #expect(abs(results[0].check.cosine) < 0.1)
    for result in results.dropFirst() {
      #expect(result.acc > 0.9)
      #expect(result.targetShare > 3 * results[0].targetShare && result.targetShare > 0.4)
      #expect(result.check.cosine > 0.25)
    }
    #expect(
      results[1].targetShare > results[2].targetShare && results[2].targetShare > results[3].targetShare)
    #expect(results[1].asr < results[2].asr && results[2].asr < results[3].asr)
    #expect(problem.result(triggerNorm: 1) == results[1])
    var other = problem
    other.seed = 1
    #expect(other.result(triggerNorm: 1) != results[1])
  }
}
