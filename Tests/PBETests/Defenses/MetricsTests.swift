import Testing

@testable import PBE

struct MetricsTests {
  @Test func defenseEffectivenessRate() {
    let before = Metrics(acc: 0.9, asr: 1.0, ra: 0)
    #expect(Metrics.der(before: before, after: Metrics(acc: 0.9, asr: 0, ra: 0.9)) == 1)
    #expect(Metrics.der(before: before, after: before) == 0.5)
    // A gain in accuracy does not make up for anything, nor does a rise of the ASR cost more than not falling.
    #expect(Metrics.der(before: before, after: Metrics(acc: 0.95, asr: 1.0, ra: 0)) == 0.5)
    let worse = Metrics.der(before: before, after: Metrics(acc: 0.8, asr: 0.5, ra: 0))
    #expect(abs((worse ?? 0) - 0.7) < 1e-12)
    #expect(Metrics.der(before: Metrics(acc: 1), after: Metrics(acc: 1)) == nil)
  }

  @Test func areaUnderTheCurve() {
    #expect(areaUnderROC(scores: [0.1, 0.2, 0.8, 0.9], isPositive: [false, false, true, true]) == 1)
    #expect(areaUnderROC(scores: [0.9, 0.8, 0.2, 0.1], isPositive: [false, false, true, true]) == 0)
    #expect(areaUnderROC(scores: [0.5, 0.5, 0.5], isPositive: [false, true, true]) == 0.5)
    // Pairs (positive, negative): (3, 1), (3, 4), (2, 1), (2, 4): two of four are right.
    #expect(areaUnderROC(scores: [3, 1, 2, 4], isPositive: [true, false, true, false]) == 0.5)
    #expect(areaUnderROC(scores: [1, 2], isPositive: [true, true]) == nil)
  }

  @Test func permutationsAreTheSameForever() {
    let order = Permutation.of(10, seed: 1, purpose: 3)
    #expect(order.sorted() == Array(0..<10))
    #expect(order == [4, 7, 5, 8, 0, 1, 9, 2, 3, 6], "old attack files would mean other images")
    #expect(order != Permutation.of(10, seed: 1, purpose: 3, epoch: 1))
    #expect(order != Permutation.of(10, seed: 2, purpose: 3))
    #expect(Permutation.of(0, seed: 1, purpose: 3).isEmpty)
  }
}
