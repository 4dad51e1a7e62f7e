import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// What is asked of a trainer reaches its plans: every setting changes what it learns.
  @Suite(.serialized) struct TrainerSettingsTests {
    private typealias Change = (name: String, make: @Sendable (inout TrainingSettings) -> Void)

    private static let ofTraining: [Change] = [
      ("momentum", { $0.momentum = 0 }), ("nesterov", { $0.nesterov = true }),
      ("weight decay", { $0.weight_decay = 0.1 }), ("gradient length", { $0.gradient_length = 0.01 }),
      ("label smoothing", { $0.label_smoothing = 0.1 }), ("radius", { $0.sam_radius = 0.5 }),
      ("adaptive radius", { ($0.sam_radius, $0.sam_adaptive) = (0.5, true) }),
      ("order", { $0.shuffles = false }), ("seed", { $0.seed = 9 }), ("batch", { $0.batch = 24 }),
      ("augmentation", { $0.augmentation = Augmentation(flips: false) }),
    ]
    private static let ofAttack: [Change] = [
      ("epsilon", { $0.attack.epsilon = 0.15 }), ("step size", { $0.attack.stepSize = 0.003 }),
      ("steps", { $0.attack.steps = 1 }), ("random start", { $0.attack.randomStart = true }),
      ("clip", { $0.attack.clip = true }), ("batch statistics", { $0.attack.usesBatchStatistics = true }),
    ]

    /// PGD with steps that leave the ball, and the range of pixels.
    private static var settings: TrainingSettings {
      var settings = TrainingSettings()
      settings.batch = 16
      settings.attack = PGD(epsilon: 0.3, stepSize: 0.12, steps: 3)
      return settings
    }

    private let weights: Weights
    private let images: DeviceImages

    init() throws {
      let specification = NetworkSpecification(
        .preactresnet18, width: 4, classes: 4, channels: 1, height: 32, imageWidth: 32)
      weights = try Weights(specification.graph(), on: TestDevices.cpu)
      images = try DeviceImages(barImages(48, size: 32, seed: 1), on: TestDevices.cpu)
    }

    /// An epoch of three steps from the same weights.
    private func trained(
      adversarial: Bool = false, _ change: (inout TrainingSettings) -> Void = { _ in }
    ) throws -> [Float] {
      try weights.initialise(seed: 3)
      var settings = Self.settings
      change(&settings)
      let trainer = try Trainer(weights, data: images, settings: settings)
      try trainer.epoch(
        on: Array(0..<48), isAdversarial: { _, _ in adversarial }, learningRate: { _, _ in 0.05 })
      return try weights.values()
    }

    @Test func everySettingCounts() throws {
      let plain = try trained()
      #expect(try trained() == plain)
      var results = [plain]
      for change in Self.ofTraining {
        let result = try trained(change.make)
        #expect(!results.contains(result), "\(change.name)")
        results.append(result)
      }
      // Clean steps don't depend on the attack.
      for change in Self.ofAttack { #expect(try trained(change.make) == plain, "\(change.name)") }
    }

    @Test func everySettingOfTheAttackCounts() throws {
      var results = [try trained(), try trained(adversarial: true)]
      #expect(results[0] != results[1])
      for change in Self.ofAttack {
        let result = try trained(adversarial: true, change.make)
        #expect(!results.contains(result), "\(change.name)")
        results.append(result)
      }
    }

    /// Adversarial examples are harder than the images.
    @Test func adversarialStepsAreHarder() throws {
      try weights.initialise(seed: 3)
      let trainer = try Trainer(weights, data: images, settings: Self.settings)
      for _ in 0..<12 { try trainer.epoch(on: Array(0..<48), learningRate: { _, _ in 0.05 }) }
      func loss(adversarial: Bool) throws -> Double {
        try trainer.epoch(
          on: Array(0..<48), isAdversarial: { _, _ in adversarial }, learningRate: { _, _ in 0 }
        ).loss
      }
      #expect(try loss(adversarial: true) > 1.5 * loss(adversarial: false))
    }

    /// The trigger is put on the image, and then moves with it.
    @Test func augmentationComesAfterTheTrigger() throws {
      let size = 12
      let black = try LabeledImages(
        name: "black", channels: 1, height: size, width: size, classes: 2,
        pixels: [UInt8](repeating: 0, count: 20 * size * size), labels: (0..<20).map { Int32($0 % 2) })
      let file = AttackFile(BadNet(pattern: [[1, 1], [1, 1]], row: 5, column: 5), target: 1, poisonRate: 1)
      let poison = try PoisonedSet(black, file)
      let data = try DeviceImages(
        black, on: TestDevices.cpu, labels: poison.labels, roles: poison.roles,
        trigger: file.makeTrigger(for: black, on: TestDevices.cpu))
      var settings = TrainingSettings()
      var augmentation = Augmentation(flips: false)
      (augmentation.cropPadding, augmentation.cropProbability) = (3, 1)
      augmentation.rotationProbability = 0
      settings.augmentation = augmentation
      let rows = try TestDevices.cpu.makeTensor((0..<20).map { Int32($0) }, shape: Shape(20, 1))
      let output = try TestDevices.cpu.makeTensor(Shape(20, 1, size, size), role: .image)
      var program = Program()
      let loaded = try data.load(20, rows: rows, augmentedBy: settings, in: &program)
      program.append(.copy(Copy(input: loaded.images, output: program.bind(output))))
      try TestDevices.cpu.compile([program])[0].run(RunParameters())
      let pixels = try TestDevices.cpu.read(output)
      let places = (0..<20).map { image in
        (0..<size * size).first { pixels[image * size * size + $0] == 1 }
      }
      #expect(!places.contains(nil), "the patch stays within the image")
      #expect(Set(places).count > 5, "and is anywhere in it: \(places)")
    }
  }
}
