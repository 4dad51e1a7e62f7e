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

    /// The loss of each of the first steps of a victim of width 4, from initial weights that are `scale` as large.
    private func losses(
      _ attack: AttackFile, steps: Int, rate: Float = 0.001, scale: Float = 1, on backend: any Backend
    ) throws -> [Float] {
      let images = try Self.pictures(steps * 128)
      let poison = try PoisonedSet(images, attack)
      let data = try DeviceImages(
        images, on: backend, labels: poison.labels, roles: poison.roles,
        trigger: attack.makeTrigger(for: images, on: backend))
      let weights = try Weights(
        NetworkSpecification(.preactresnet18, width: 4, classes: 4, channels: 3).graph(), on: backend)
      try weights.initialise(seed: 1)
      try backend.write(backend.read(weights.trained).map { scale * $0 }, to: weights.trained)
      var settings = TrainingSettings()
      settings.nesterov = true
      settings.augmentation = Augmentation(flips: true)
      let trainer = try Trainer(weights, data: data, settings: settings)
      var sums: [Float] = []
      _ = try trainer.epoch(
        on: Array(0..<images.count),
        learningRate: { _, _ in rate },
        progress: { _ in sums.append(try backend.read(trainer.totals)[0]) })
      return sums.indices.map { (sums[$0] - ($0 > 0 ? sums[$0 - 1] : 0)) / 128 }
    }

    /// At the paper's learning rate. At the rates that train a victim in a few epochs every difference doubles in about a
    /// step, also that of a rounding on one device (docs/results.md).
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

    /// In both stages of the attack whose generators are trained another device makes no more of a difference than one rounding
    /// of the generators' initial weights. Adam divides by the gradients' size: what is rounding in a small one counts as much.
    @Test func dynamicDriftsAsRoundingDoes() throws {
      func losses(_ scale: Float, on backend: any Backend) throws -> (masks: [Float], steps: [Float]) {
        let images = try Self.pictures(20 * 32)
        let attack = Dynamic(width: 4)
        let generators = try attack.makeGenerators(for: Shape(1, 3, 32, 32), on: backend)
        try generators.initialise(seed: 1)
        for part in [generators.mask, generators.pattern] {
          try backend.write(backend.read(part.trained).map { scale * $0 }, to: part.trained)
        }
        let weights = try Weights(
          NetworkSpecification(.preactresnet18, width: 4, classes: 4, channels: 3).graph(), on: backend)
        try weights.initialise(seed: 1)
        var settings = TrainingSettings()
        (settings.batch, settings.augmentation) = (32, Augmentation(flips: true))
        let trainer = try DynamicTrainer(
          weights, generators: generators, training: images,
          poison: PoisonedSet(images, AttackFile(attack, target: 1, poisonRate: 0.1)), settings: settings,
          maskEpochs: 1)
        let mask = try trainer.maskEpoch()
        var sums: [Float] = []
        _ = try trainer.epoch(
          count: images.count, share: 0, learningRate: { _, _ in 0.001 },
          progress: { _ in sums.append(try backend.read(trainer.totals)[0]) })
        let steps = sums.indices.map { (sums[$0] - ($0 > 0 ? sums[$0 - 1] : 0)) / 32 }
        return ([Float(mask.diversity), Float(mask.density)], steps)
      }
      func drift(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).map { abs($0 - $1) }.max() ?? 0 }
      let reference = try losses(1, on: TestDevices.cpu)
      #expect(reference.steps.count >= 18 && (reference.masks + reference.steps).allSatisfy { $0 > 0 })
      let rounded = try losses(1.0000001, on: TestDevices.cpu)
      let rounding = (drift(rounded.masks, reference.masks), drift(rounded.steps, reference.steps))
      #expect(rounding.0 > 0 && rounding.1 > 0)
      for backend in TestDevices.usable.dropFirst() {
        let other = try losses(1, on: backend)
        #expect(drift(other.masks, reference.masks) < 3 * rounding.0)
        #expect(drift(other.steps, reference.steps) < 3 * rounding.1)
      }
    }

    /// At a victim's rate another device makes no more of a difference than one rounding of the initial weights.
    @Test func fasterTrainingDriftsAsRoundingDoes() throws {
      let attack = try AttackFile.named("badnet", seed: 3)
      func losses(_ scale: Float, on backend: any Backend) throws -> [Float] {
        try self.losses(attack, steps: 20, rate: 0.004, scale: scale, on: backend)
      }
      let reference = try losses(1, on: TestDevices.cpu)
      func drift(_ others: [Float]) -> Float { zip(others, reference).map { abs($0 - $1) }.max() ?? 0 }
      let rounding = drift(try losses(1.0000001, on: TestDevices.cpu))
      #expect(rounding > 0)
      for backend in TestDevices.usable.dropFirst() {
        #expect(drift(try losses(1, on: backend)) < 10 * rounding)
      }
    }
  }
}
