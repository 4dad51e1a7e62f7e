import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// Adversarial examples, features and matrices on devices.
  @Suite(.serialized)
  struct InspectionTests {
    /// A small network that has learned bars, with a backdoor unless `isBenign`.
    static func model(isBenign: Bool, on backend: any Backend) throws -> (Weights, AttackFile) {
      let training = try barImages(400, seed: 1)
      let attack = AttackFile(
        BadNet(pattern: [[1, 1], [1, 1]], row: 5, column: 5), target: 1, poisonRate: isBenign ? 0 : 0.2)
      let poison = try PoisonedSet(training, attack)
      let trigger = try attack.attack.makeTrigger(image: Shape(1, 1, 12, 12), seed: 0, on: backend)
      let images = try DeviceImages(
        training, on: backend, labels: poison.labels, roles: poison.roles, trigger: trigger)
      let weights = try Weights(
        NetworkSpecification(.mnistNet, width: 8, classes: 4, channels: 1, height: 12, imageWidth: 12)
          .graph(), on: backend)
      try weights.initialise(seed: 7)
      var settings = TrainingSettings()
      settings.batch = 64
      let trainer = try Trainer(weights, data: images, settings: settings)
      for _ in 0..<6 {
        try trainer.epoch(on: Array(0..<training.count), learningRate: { _, _ in 0.05 })
      }
      return (weights, attack)
    }

    static var settings: InspectionSettings {
      InspectionSettings(epsilons: [8, 24, 60], imageSize: 144)
    }

    /// The same answers and features as the scorer, whatever the batches are.
    @Test(arguments: TestDevices.usable.indices, FeatureTests.networks.indices)
    func probe(_ device: Int, _ network: Int) throws {
      let backend = TestDevices.usable[device]
      let (specification, _, count) = FeatureTests.networks[network]
      let weights = try Weights(specification.graph(), on: backend)
      try weights.initialise(seed: 11)
      let data = try DeviceImages(barImages(11, size: 32, seed: 1), on: backend)
      let scorer = try Scorer(weights, data: data, batch: 11, keepsFeatures: true)
      try scorer.run()
      let answers = try NetworkProbe(weights, batch: 4).answers(to: data.pixels())
      #expect(normalisedError(answers.logits, try backend.read(scorer.logits)) < 1e-10)
      #expect(answers.labels == (try scorer.answers()))
      let table = try #require(scorer.features)
      let features = try backend.read(table)
      switch specification.architecture {
      case .preactresnet18:
        // The scorer's are averages before ReLU, which are at most the averages behind it.
        #expect(answers.channels == count)
        #expect(zip(answers.features, features).allSatisfy { $0 >= $1 - 1e-5 && $0 >= 0 })
      case .smallVGG:
        let area = table.shape.h * table.shape.w
        let averages = (0..<features.count / area).map { channel in
          features[channel * area..<(channel + 1) * area].reduce(0.0) { $0 + Double(max(0, $1)) }
            / Double(area)
        }
        #expect(normalisedError(answers.features, averages) < 1e-10)
      default: #expect(normalisedError(answers.features, features) < 1e-10)
      }
    }

    /// Perturbations stay in their ball and reach its edge; they raise the loss.
    @Test(arguments: TestDevices.usable.indices)
    func balls(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let (weights, _) = try Self.model(isBenign: true, on: backend)
      let test = try barImages(50, seed: 2)
      let clean = try DeviceImages(test, on: backend).pixels()
      let probe = try NetworkProbe(weights, batch: 16)
      let before = try probe.answers(to: clean)
      for budget in Self.settings.budgets {
        let pixels = try probe.adversarial(
          clean, labels: test.labels, attack: budget.attack(steps: 7, clip: false))
        var largest = 0.0
        for image in 0..<test.count {
          let range = image * 144..<(image + 1) * 144
          let change = Vector.difference(pixels[range], clean[range])
          let size = budget.norm == .two ? Vector.length(change) : change.map(abs).max() ?? 0
          #expect(size <= budget.epsilon / 255 * 1.00001)
          largest = max(largest, size)
        }
        #expect(largest > 0.99 * budget.epsilon / 255, "\(budget.name)")
        let after = try probe.answers(to: pixels)
        func margins(_ answers: NetworkProbe.Answers) -> Double {
          test.labels.indices.reduce(0) { $0 + answers.margin(of: $1, label: test.labels[$1]) }
        }
        #expect(margins(after) < margins(before), "\(budget.name)")
      }
    }

    /// An infected model's adversarial examples go to the target more than a benign one's; all devices count alike.
    @Test func matrices() throws {
      var reference: Inspector.Findings?
      for backend in TestDevices.usable {
        let (trained, attack) = try Self.model(isBenign: false, on: TestDevices.cpu)
        let (benign, _) = try Self.model(isBenign: true, on: TestDevices.cpu)
        // The same weights everywhere: training differs by rounding.
        func moved(_ weights: Weights) throws -> Weights {
          let copy = try Weights(weights.graph, on: backend)
          try copy.copy(from: weights)
          return copy
        }
        let test = try barImages(200, seed: 2)
        var shares: [Double] = []
        let found = try Inspector.inspect(
          Inspector.Models(moved(trained), benign: moved(benign), purified: moved(trained)), test: test,
          attack: attack, settings: Self.settings
        ) { shares.append($0) }
        #expect(shares == shares.sorted() && shares.last.map { $0 <= 1.0001 && $0 > 0.9 } == true)
        #expect(found.images > 150 && (found.model.asr ?? 0) > 0.9 && found.model.acc > 0.9)
        let control = try #require(found.benign)
        #expect((control.asr ?? 1) < 0.5)
        #expect(found.purified?.budgets.map(\.matrix) == found.model.budgets.map(\.matrix))
        #expect(found.purified?.budgets.map(\.matrix) != control.budgets.map(\.matrix))
        for index in Self.settings.budgets.indices {
          let (own, other) = (found.model.budgets[index], control.budgets[index])
          #expect(own.matrix.images == found.images && other.matrix.images == found.images)
          #expect(own.chiSquareAgainstBenign != nil && own.excess?.count == 4)
          #expect(own.comparison?.features.benignToTriggered != nil && own.comparison?.images ?? 0 > 100)
          #expect(other.chiSquareAgainstBenign == nil)
        }
        let last = Self.settings.budgets.count / 2 - 1
        let drawn = (
          try #require(found.model.budgets[last].targetShare), try #require(control.budgets[last].targetShare)
        )
        #expect(drawn.0 > drawn.1, "\(drawn)")
        if let reference {
          for (a, b) in zip(found.model.budgets, reference.model.budgets) {
            for (row, other) in zip(a.matrix.counts, b.matrix.counts) {
              for (x, y) in zip(row, other) {
                #expect(abs(x - y) <= max(1, found.images / 100), "\(a.budget.name)")
              }
            }
          }
        } else {
          reference = found
        }
      }
    }

    @Test func nothingToInspect() throws {
      let weights = try Weights(
        NetworkSpecification(.mnistNet, width: 8, classes: 4, channels: 1, height: 12, imageWidth: 12)
          .graph(), on: TestDevices.cpu)
      // Without weights the answer is always the first class.
      let test = try barImages(40, seed: 2)
      let others = try test.subset(test.labels.indices.filter { test.labels[$0] != 0 })
      let error = #expect(throws: PBEError.self) {
        _ = try Inspector.inspect(
          Inspector.Models(weights), test: others, attack: nil, settings: Self.settings)
      }
      #expect(error?.kind == .badData && error?.what.contains("no test image") == true)
    }

    /// The theorem's quantities on a deep model.
    @Test func deepAlignment() throws {
      let (weights, attack) = try Self.model(isBenign: false, on: TestDevices.cpu)
      let test = try barImages(80, seed: 2)
      let found = try DeepAlignment(
        weights, benign: weights, test: test, attack: attack, settings: Self.settings)
      #expect(found.rows.count == 6 && found.images > 40 && found.images <= 60)
      #expect(found.leastMargin >= 0 && found.leastMargin <= found.lowMargin)
      #expect(found.leastBound <= found.rows[0].check.bound)
      // Four pixels, each of which becomes white: a patch of at most 2.
      #expect(found.triggerNorm > 0.5 && found.triggerNorm < 2)
      #expect(found.logitChange > 1)
      for row in found.rows {
        let share = try #require(row.shareAbove)
        #expect(row.benignCosine == row.check.cosine && (0...1).contains(share))
      }
      #expect(found.rows.contains { $0.check.cosine > 0.05 })
      // Another model's examples are others.
      let (benign, _) = try Self.model(isBenign: true, on: TestDevices.cpu)
      let apart = try DeepAlignment(
        weights, benign: benign, test: test, attack: attack, settings: Self.settings)
      #expect(apart.rows.allSatisfy { $0.benignCosine != nil && $0.benignCosine != $0.check.cosine })
      let infected = apart.rows.reduce(0) { $0 + $1.check.cosine }
      #expect(apart.rows.reduce(0) { $0 + ($1.benignCosine ?? 1) } < infected, "it has not seen the trigger")
    }
  }
}
