import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// Trainings with and without the dropout of a network that has it.
  struct DropoutTests {
    /// Dropout draws anew each epoch. Without it one epoch does what another does from the same weights, in plain and in
    /// sharpness-aware steps.
    @Test(arguments: TestDevices.usable.indices, [Float(0), 0.5])
    func isLeftOut(_ device: Int, radius: Float) throws {
      let backend = TestDevices.usable[device]
      let specification = NetworkSpecification(.smallVGG, width: 4, classes: 4, channels: 3)
      let weights = try Weights(specification.graph(), on: backend)
      let data = try DeviceImages(barImages(12, size: 32, seed: 3), on: backend)
      func trained(dropout: Bool, epoch: UInt32) throws -> [Float] {
        try weights.initialise(seed: 3)
        var settings = TrainingSettings()
        (settings.dropout, settings.sam_radius) = (dropout, radius)
        (settings.batch, settings.shuffles) = (6, false)
        let trainer = try Trainer(weights, data: data, settings: settings)
        trainer.position.epochs = epoch
        try trainer.epoch(on: Array(0..<12), learningRate: { _, _ in 0.1 })
        return try weights.values()
      }
      #expect(try trained(dropout: false, epoch: 1) == trained(dropout: false, epoch: 2))
      #expect(try trained(dropout: true, epoch: 1) != trained(dropout: true, epoch: 2))
      #expect(try trained(dropout: true, epoch: 1) != trained(dropout: false, epoch: 1))
    }

    /// Examples crafted in training mode see the dropout of the run's seed, or none where the training has none.
    @Test(arguments: TestDevices.usable.indices)
    func craftsWithTheRunsDropout(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let weights = try Weights(
        NetworkSpecification(.smallVGG, width: 4, classes: 4, channels: 3).graph(), on: backend)
      try weights.initialise(seed: 3)
      let shape = Shape(6, 3, 32, 32)
      let pixels = (0..<shape.count).map { Float($0 % 97) / 97 }
      var attack = PGD(epsilon: 8 / 255, norm: .infinity)
      attack.usesBatchStatistics = true
      func crafted(_ seed: UInt64, dropout: Bool = true) throws -> [Float] {
        let example = try backend.makeTensor(pixels, shape: shape, role: .image)
        let origin = try backend.makeTensor(pixels, shape: shape, role: .image)
        let labels = try backend.makeTensor([Int32]([0, 1, 2, 3, 0, 1]), shape: Shape(6, 1))
        let samples = try backend.makeTensor((0..<6).map(Int32.init), shape: Shape(6, 1))
        let program = try Plans.pgdStep(
          weights, adversarial: example, origin: origin, labels: labels, samples: dropout ? samples : nil,
          totals: backend.makeTensor(.vector(2)), attack: attack, seed: seed)
        try backend.compile([program])[0].run(RunParameters())
        return try backend.read(example)
      }
      #expect(try crafted(1) == crafted(1) && crafted(1) != crafted(2))
      #expect(try crafted(1, dropout: false) == crafted(2, dropout: false))
    }
  }
}
