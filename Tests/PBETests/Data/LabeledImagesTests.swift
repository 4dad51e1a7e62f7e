import Kernels
import PBE
import Testing

@Suite struct LabeledImagesTests {
  /// `count` images of 2 x 1 x 2, sorted by class.
  private static func set(_ count: Int = 200) throws -> LabeledImages {
    try LabeledImages(
      name: "test", channels: 1, height: 2, width: 2, classes: 4,
      pixels: (0..<count).flatMap { [UInt8(truncatingIfNeeded: $0), 1, 2, 3] },
      labels: (0..<count).map { Int32($0 * 4 / count) })
  }

  @Test func partsAreFixedNestedAndRepresentative() throws {
    let set = try Self.set()
    let small = set.sampleIndices(20)
    let large = set.sampleIndices(80)
    #expect(small.count == 20 && Set(small).count == 20)
    #expect(small == small.sorted())
    #expect(Set(small).isSubset(of: large))
    #expect(small == set.sampleIndices(20))
    #expect(small != set.sampleIndices(20, seed: 1))
    #expect(try set.limited(to: 80).histogram.allSatisfy { $0 > 8 })
    // Written down once: a change would silently change every recorded run.
    #expect(set.sampleIndices(5) == [31, 42, 58, 146, 188])
  }

  @Test func partsOfAnySizeHaveTheirImages() throws {
    let set = try Self.set()
    let part = try set.limited(to: 20)
    #expect(part.pixels == set.sampleIndices(20).flatMap { [UInt8($0), 1, 2, 3] })
    #expect(try set.limited(to: 200) == set)
    #expect(try set.limited(to: 9999) == set)
    #expect(try set.limited(to: 0).count == 0)
    #expect(try set.limited(to: -1).count == 0)
  }

  @Test func subsetsKeepOrderAndRepeats() throws {
    let set = try Self.set()
    let part = try set.subset([199, 3, 3])
    #expect(part.labels == [3, 0, 0])
    #expect(part.pixels == [199, 1, 2, 3, 3, 1, 2, 3, 3, 1, 2, 3])
    for wrong in [-1, 200] {
      expectError(.usage, "no image \(wrong)") { _ = try set.subset([0, wrong]) }
      expectError(.usage, "no image \(wrong)") { _ = try set.picture(wrong) }
    }
  }

  @Test func picturesAreInterleaved() throws {
    let set = try LabeledImages(
      name: "test", channels: 3, height: 1, width: 2, classes: 1, pixels: [1, 2, 3, 4, 5, 6], labels: [0])
    #expect(try set.picture(0).pixels == [1, 3, 5, 2, 4, 6])
    #expect(try set.picture(0).planar == set.pixels)
  }

  @Test func refusesPiecesThatDoNotFit() {
    expectError(.internal, "3 pixel bytes") {
      _ = try LabeledImages(
        name: "test", channels: 1, height: 2, width: 2, classes: 1, pixels: [1, 2, 3], labels: [0])
    }
    expectError(.internal, "label 1") {
      _ = try LabeledImages(
        name: "test", channels: 1, height: 1, width: 1, classes: 1, pixels: [1], labels: [1])
    }
    expectError(.internal) {
      _ = try LabeledImages(
        name: "test", channels: .max, height: .max, width: 2, classes: 1, pixels: [1], labels: [0])
    }
  }

  @Test func checksumsAreZlibs() throws {
    #expect(Checksum.hex(of: Array("123456789".utf8)) == "cbf43926")
    #expect(Checksum.hex(of: []) == "00000000")
    var pieces = Checksum()
    pieces.update(Array("1234".utf8))
    pieces.update([UInt8]())
    pieces.update(Array("56789".utf8))
    #expect(pieces.hex == "cbf43926")
    let set = try LabeledImages(
      name: "test", channels: 1, height: 1, width: 2, classes: 4, pixels: [7, 9, 1, 0], labels: [3, 0])
    #expect(set.checksum == Checksum.hex(of: [7, 9, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0]))
    #expect(try set.subset([1, 0]).checksum != set.checksum)
  }
}
