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
  }
}
