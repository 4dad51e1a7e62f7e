import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Damaged files")
struct DamagedFileTests {
  static let files = [
    "checkpoint.pth", "checkpoint-deflated.pth", "checkpoint-old.pth", "checkpoint-protocol4.pth",
    "model.safetensors",
  ]

  @Test("cut short at every length", arguments: files)
  func truncation(_ file: String) throws {
    let bytes = try TestFiles.fixture(file)
    for length in 0..<bytes.count {
      #expect(throws: PBEError.self, "\(length) bytes") {
        _ = try Checkpoint.read(Array(bytes[..<length]), place: "file")
      }
    }
  }

  @Test("changed bytes give a model or a PBEError, nothing else", arguments: files)
  func mutation(_ file: String) throws {
    let original = try TestFiles.fixture(file)
    var random = SplitMix64(state: 20230607)
    var refused = 0
    let rounds = 2500
    for round in 0..<rounds {
      var bytes = original
      for _ in 0..<(round % 3 == 0 ? 1 : Int.random(in: 2...6, using: &random)) {
        let position = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[position] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
        case 2: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        default:
          // Opcodes and lengths of one place in another one.
          let count = min(8, bytes.count - position)
          let source = Int.random(in: 0...bytes.count - count, using: &random)
          bytes.replaceSubrange(position..<position + count, with: bytes[source..<source + count])
        }
      }
      do { _ = try Checkpoint.read(bytes, place: "file") } catch is PBEError { refused += 1 } catch {
        Issue.record("round \(round) of \(file): \(error)")
      }
    }
    // Checksums and structure catch most changes; a reader that refused nothing would not have looked.
    #expect(refused > rounds / 4)
  }

  @Test("changed pickles without checksums around them")
  func pickleMutation() throws {
    var archive = try ZipArchive(try TestFiles.fixture("checkpoint.pth"), place: "file")
    let original = Array(try #require(try archive.contents("checkpoint/data.pkl")))
    var random = SplitMix64(state: 7)
    for round in 0..<4000 {
      var bytes = original
      for _ in 0...round % 4 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      do { _ = try Checkpoint.read(TestFiles.checkpoint(bytes), place: "file") } catch is PBEError {} catch {
        Issue.record("round \(round): \(error)")
      }
    }
  }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the same numbers in every
/// run.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
