import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  @Suite(.serialized) struct SheetMakingTests {
    private func model(seed: UInt64) throws -> Weights {
      let specification = NetworkSpecification(
        .mnistNet, width: 2, classes: 4, channels: 1, height: 12, imageWidth: 12)
      let weights = try Weights(specification.graph(), on: TestDevices.cpu)
      try weights.initialise(seed: seed)
      return weights
    }

    @Test func writesWhatAReportReads() throws {
      let images = try barImages(30, seed: 4)
      let attack = AttackFile(BadNet(), target: 1)
      var making = try SheetMaking(
        infected: model(seed: 1), test: images, attack: attack, pgd: PGD(epsilon: 0.1), seed: 5)
      let agreement = (0..<30).map { Float(($0 * 7) % 30) / 30 }
      try TestFiles.withDirectory { directory in
        try making.write(
          purified: model(seed: 2), agreement: agreement,
          training: { try DeviceImages(images, on: TestDevices.cpu) }, to: directory.path)
        let (classes, pictures) = try RunSheets.read(in: directory.path)
        #expect(classes == nil && pictures.count == 3)
        let test = try #require(pictures.first).sheet
        #expect(test.rows.count == 5 && test.labels?.count == 10)
        // Clean, triggered and adversarial images, for two models.
        #expect(test.answers?.map(\.name).filter { $0.hasPrefix("infected: ") }.count == 3)
        #expect(test.answers?.count == 6 && test.answers?.allSatisfy { $0.labels.count == 10 } == true)
        #expect(pictures.map(\.width) == [284, 284, 284] && pictures.map(\.height) == [144, 32, 32])
        let ends = pictures.dropFirst().map { ($0.sheet.images ?? []).map { agreement[$0] } }
        #expect(
          ends == [Array(agreement.sorted().prefix(10)), Array(agreement.sorted().reversed().prefix(10))])
        // The sheet shows that image, and nothing between images.
        let picture = try Picture(png: pictures[1].png, name: "sheet", channels: 4)
        let first = try #require(pictures[1].sheet.images?.first)
        let at = (4 * picture.width + 4) * 4
        #expect(picture.pixels[at] == images.pixels[first * 144] && picture.pixels[at + 3] == 255)
        #expect(picture.pixels[3] == 0)
      }
    }

    @Test func withoutAttackOrTrainingSet() throws {
      var making = try SheetMaking(
        infected: model(seed: 1), test: barImages(3, seed: 4), attack: nil, pgd: PGD(), seed: 5)
      try TestFiles.withDirectory { directory in
        try making.write(
          purified: model(seed: 2), agreement: [],
          training: { throw PBEError(.internal, "not needed") }, to: directory.path)
        let pictures = try RunSheets.read(in: directory.path).pictures
        #expect(pictures.map(\.sheet.rows) == [["clean", "adversarial, 6/255", "change by PGD, x10"]])
        #expect(pictures[0].sheet.labels?.count == 3)
      }
    }
  }
}
