import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// An infection, step by step, on every device.
  @Suite(.serialized)
  struct VictimAgreementTests {
    /// Pictures of four classes, 32x32 in colour: bars as ``barImages`` draws them.
    private static func pictures(_ count: Int) throws -> LabeledImages {
      let bars = try barImages(3 * count, size: 32, seed: 5)
      // Three grey pictures of one class are the channels of a colour picture.
      let size = 32 * 32
      let order = (0..<count).flatMap { index in (0..<3).map { index / 4 * 12 + index % 4 + 4 * $0 } }
      return try LabeledImages(
        name: "bars", channels: 3, height: 32, width: 32, classes: 4,
        pixels: order.flatMap { bars.pixels[$0 * size..<($0 + 1) * size] },
        labels: (0..<count).map { Int32($0 % 4) })
    }

    /// The loss of each of the first steps of a victim of width 4, trained as `experiments/victims.yaml` trains.
    private func losses(_ attack: AttackFile, steps: Int, on backend: any Backend) throws -> [Float] {
      let images = try Self.pictures(steps * 32)
      let poison = try PoisonedSet(images, attack)
      let data = try DeviceImages(
        images, on: backend, labels: poison.labels, roles: poison.roles,
        trigger: attack.makeTrigger(for: images, on: backend))
      let weights = try Weights(
        NetworkSpecification(.preactresnet18, width: 4, classes: 4, channels: 3).graph(), on: backend)
      try weights.initialise(seed: 1)
      var settings = TrainingSettings()
      settings.batch = 32
      settings.nesterov = true
      settings.augmentation = Augmentation(flips: true)
      let trainer = try Trainer(weights, data: data, settings: settings)
      var sums: [Float] = []
      _ = try trainer.epoch(
        on: Array(0..<images.count),
        learningRate: { step, _ in Schedule.oneCycle.rate(0.1, share: Double(step) / 1500) },
        progress: { _ in sums.append(try backend.read(trainer.totals)[0]) })
      return sums.indices.map { (sums[$0] - ($0 > 0 ? sums[$0 - 1] : 0)) / 32 }
    }

    @Test(arguments: ["badnet", "blend", "sig", "wanet"])
    func firstStepsAgree(_ name: String) throws {
      let attack = try AttackFile.named(name, seed: 3)
      let reference = try losses(attack, steps: 20, on: TestDevices.cpu)
      #expect(reference.count == 20 && reference.allSatisfy { $0 > 0 && $0.isFinite })
      for backend in TestDevices.usable.dropFirst() {
        let others = try losses(attack, steps: 20, on: backend)
        for (step, (a, b)) in zip(others, reference).enumerated() {
          #expect(abs(a - b) < 1e-3, "step \(step + 1) on \(backend.device.identifier)")
        }
      }
    }
  }
}
