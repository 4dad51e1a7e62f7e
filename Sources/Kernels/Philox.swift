/// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
/// (SC 2011): a random number is a function of its place, so every backend, batch split and resumed run draws the
/// same. kernels.cl and cpu_vector.h hold the same function.
public enum Philox {
  /// Four random words for a counter and a key.
  public static func words(_ counter: SIMD4<UInt32>, seed: UInt64) -> SIMD4<UInt32> {
    var c = counter
    var key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    for _ in 0..<10 {
      let a = UInt64(c[0]) * 0xD251_1F53
      let b = UInt64(c[2]) * 0xCD9E_8D57
      c = SIMD4(
        UInt32(truncatingIfNeeded: b >> 32) ^ c[1] ^ key[0], UInt32(truncatingIfNeeded: b),
        UInt32(truncatingIfNeeded: a >> 32) ^ c[3] ^ key[1], UInt32(truncatingIfNeeded: a))
      key = key &+ SIMD2(0x9E37_79B9, 0xBB67_AE85)
    }
    return c
  }

  /// A word as a number in [0, 1): its upper 24 bits, which a float holds exactly.
  public static func uniform(_ word: UInt32) -> Float { Float(word >> 8) * 0x1p-24 }
}

/// A stream of random numbers on the host for one purpose: shuffles, initial weights, choices.
public struct PhiloxStream: RandomNumberGenerator, Sendable {
  private let seed: UInt64
  private let purpose: UInt32
  private let epoch: UInt32
  private var block: UInt64 = 0
  private var words = SIMD4<UInt32>()
  private var used = 4

  /// Creates the stream of (seed, purpose, epoch).
  public init(seed: UInt64, purpose: UInt32, epoch: UInt32 = 0) {
    self.seed = seed
    self.purpose = purpose
    self.epoch = epoch
  }

  /// The next 32 bits.
  public mutating func nextWord() -> UInt32 {
    if used == 4 {
      words = Philox.words(
        SIMD4(UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32), epoch, purpose),
        seed: seed)
      block += 1
      used = 0
    }
    used += 1
    return words[used - 1]
  }

  public mutating func next() -> UInt64 { UInt64(nextWord()) << 32 | UInt64(nextWord()) }

  /// The next number in [0, 1).
  public mutating func nextUniform() -> Float { Philox.uniform(nextWord()) }
}
