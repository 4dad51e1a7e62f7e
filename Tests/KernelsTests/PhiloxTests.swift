import Kernels
import Testing

@Suite struct PhiloxTests {
  /// The known answers of Random123 (kat_vectors, philox4x32 with 10 rounds).
  @Test func knownAnswers() {
    let zeros = Philox.words(SIMD4(repeating: 0), seed: 0)
    #expect(zeros == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = Philox.words(SIMD4(repeating: .max), seed: .max)
    #expect(ones == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    let pi = Philox.words(
      SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), seed: 0x299f_31d0_a409_3822)
    #expect(pi == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func uniformRange() {
    #expect(Philox.uniform(0) == 0)
    #expect(Philox.uniform(.max) < 1)
    #expect(Philox.uniform(1 << 31) == 0.5)
    var stream = PhiloxStream(seed: 1, purpose: 2)
    let draws = (0..<20_000).map { _ in Double(stream.nextUniform()) }
    #expect(draws.allSatisfy { $0 >= 0 && $0 < 1 })
    let mean = draws.reduce(0, +) / 20_000
    let variance = draws.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
    // Five standard errors.
    #expect(abs(mean - 0.5) < 0.0103)
    #expect(abs(variance - 1.0 / 12) < 0.0027)
  }

  @Test func streamsAreFunctionsOfTheirPlace() {
    func first(_ seed: UInt64, _ purpose: UInt32, _ epoch: UInt32) -> [UInt32] {
      var stream = PhiloxStream(seed: seed, purpose: purpose, epoch: epoch)
      return (0..<9).map { _ in stream.nextWord() }
    }
    #expect(first(1, 2, 3) == first(1, 2, 3))
    #expect(Set([first(1, 2, 3), first(2, 2, 3), first(1, 3, 3), first(1, 2, 4)]).count == 4)
    let words = Philox.words(SIMD4(1, 0, 3, 2), seed: 1)
    #expect(Array(first(1, 2, 3)[4..<8]) == (0..<4).map { words[$0] })
  }
}
