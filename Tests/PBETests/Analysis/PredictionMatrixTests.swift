import Foundation
import Testing

@testable import PBE

/// Counts of answers, and what they say.
struct PredictionMatrixTests {
  /// Four images of label 0, two of 1, four of 2.
  private let matrix = PredictionMatrix(
    labels: [0, 0, 0, 0, 1, 1, 2, 2, 2, 2], answers: [0, 1, 1, 2, 1, 0, 1, 1, 1, 2], classes: 3)

  @Test func counts() {
    #expect(matrix.counts == [[1, 2, 1], [1, 1, 0], [0, 3, 1]])
    #expect(matrix.images == 10 && matrix.classes == 3)
    #expect(abs(matrix.misled - 0.7) < 1e-12)
    for (share, expected) in zip(matrix.row, [1.0 / 7, 5.0 / 7, 1.0 / 7]) {
      #expect(abs(share - expected) < 1e-12)
    }
    for (share, expected) in zip(matrix.inflow, [1.0 / 6, 5.0 / 8, 1.0 / 6]) {
      #expect(abs(share - expected) < 1e-12)
    }
    for (share, expected) in zip(matrix.attraction, [1.0 / 4, 5.0 / 6, 1.0 / 4]) {
      #expect(abs(share - expected) < 1e-12)
    }
    let large: Double = 5.0 / 7 * log2(5.0 / 7)
    let entropy: Double = -large - 2.0 / 7 * log2(1.0 / 7)
    #expect(abs(matrix.entropy - entropy) < 1e-12)
    #expect(matrix.shares[0] == [0.25, 0.5, 0.25])
  }

  @Test func chiSquare() {
    // Wrong answers by row: 3, 1, 3; a label expects half of those of the other rows.
    let expected: Double = 1.0 / 2 + 4.0 / 3 + 1.0 / 2
    #expect(abs(matrix.chiSquare.statistic - expected) < 1e-12)
    #expect(matrix.chiSquare.degreesOfFreedom == 2)
    let uniform = PredictionMatrix(counts: [[0, 2, 2], [2, 0, 2], [2, 2, 0]])
    #expect(uniform.chiSquare.statistic == 0)
    #expect(abs(uniform.entropy - log2(3)) < 1e-12)
    #expect(matrix.chiSquare(against: matrix).statistic == 0)
    // Wrong answers 1, 5, 1 and 4, 4, 4: pooled 5, 9, 5 of 19.
    var statistic = 0.0
    let pairs: [(a: Double, b: Double)] = [(1, 4), (5, 4), (1, 4)]
    for (a, b) in pairs {
      let x: Double = (a + b) * 7 / 19
      let y: Double = (a + b) * 12 / 19
      statistic += (a - x) * (a - x) / x
      statistic += (b - y) * (b - y) / y
    }
    #expect(abs(matrix.chiSquare(against: uniform).statistic - statistic) < 1e-12)
    let unmoved = PredictionMatrix(counts: [[4, 0, 0], [0, 4, 0], [0, 0, 4]])
    #expect(unmoved.chiSquare.statistic == 0 && unmoved.entropy == 0 && unmoved.row == [0, 0, 0])
    #expect(matrix.chiSquare(against: unmoved).degreesOfFreedom == 0)
  }

  @Test func targets() throws {
    var attack = try AttackFile.named("badnet")
    attack.target = 1
    #expect(abs(matrix.targetShare(attack) - 5.0 / 8) < 1e-12)
    attack.mode = .allToAll
    // 0 to 1: two of four; 1 to 2: none of two; 2 to 0: none of four.
    #expect(abs(matrix.targetShare(attack) - 0.2) < 1e-12)
    let excess = matrix.excess(over: PredictionMatrix(counts: [[1, 1, 2], [2, 0, 0], [0, 0, 4]]))
    #expect(excess[0] == [0, 0.25, -0.25])
    #expect(excess[1] == [-0.5, 0.5, 0])
  }

  @Test func files() throws {
    let bytes = Array(try AnalysisJSON.text(matrix).utf8)
    #expect(try AnalysisJSON.decode(PredictionMatrix.self, from: bytes) == matrix)
    for wrong in ["[[1,2],[3]]", "[[-1]]", "[[1,2]]", "{}"] {
      #expect(throws: (any Error).self) {
        try AnalysisJSON.decode(PredictionMatrix.self, from: Array(wrong.utf8))
      }
    }
  }
}
