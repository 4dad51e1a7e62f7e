import Foundation
import PBE
import Testing

private let folder = ProcessInfo.processInfo.environment["PBE_DATA"]

/// Reads the real data sets in the folder that the environment variable PBE_DATA names (holding
/// cifar-10-batches-bin, GTSRB, fashion-mnist), each where it is there; reported as skipped without the variable.
@Suite(
  .enabled(
    if: folder != nil, "NOT RUN: set PBE_DATA to a folder with cifar-10-batches-bin, GTSRB, fashion-mnist"),
  .serialized)
struct RealDataTests {
  private static func has(_ name: String) -> Bool {
    folder.map { FileManager.default.fileExists(atPath: "\($0)/\(name)") } ?? false
  }

  private func load(_ kind: DatasetKind, _ split: DatasetKind.Split) throws -> LabeledImages {
    let clock = ContinuousClock()
    let start = clock.now
    let images = try kind.load(directory: try #require(folder), split: split)
    print("\(images.name): \(images.count) images in \(clock.now - start), CRC-32 \(images.checksum)")
    return images
  }

  @Test(.enabled(if: has("cifar-10-batches-bin"), "NOT RUN: PBE_DATA has no cifar-10-batches-bin"))
  func cifar10() throws {
    let train = try load(.cifar10, .train)
    #expect(train.histogram == [Int](repeating: 5000, count: 10))
    #expect(try train.limited(to: 5000).histogram.allSatisfy { (400...600).contains($0) })
    #expect(try load(.cifar10, .test).histogram == [Int](repeating: 1000, count: 10))
  }

  @Test(.enabled(if: has("GTSRB"), "NOT RUN: PBE_DATA has no GTSRB"))
  func gtsrb() throws {
    let train = try load(.gtsrb, .train)
    #expect(train.count == 39_209)
    #expect(train.histogram[0] == 210)
    #expect(train.histogram[2] == 2250)
    let test = try load(.gtsrb, .test)
    #expect(test.count == 12_630)
    #expect(test.histogram[0] == 60)
    #expect(test.histogram[2] == 750)
  }

  @Test(.enabled(if: has("fashion-mnist"), "NOT RUN: PBE_DATA has no fashion-mnist"))
  func fashionMNIST() throws {
    #expect(try load(.fashionMNIST, .train).histogram == [Int](repeating: 6000, count: 10))
    #expect(try load(.fashionMNIST, .test).histogram == [Int](repeating: 1000, count: 10))
  }
}
