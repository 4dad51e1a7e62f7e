import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  @Suite(.serialized) struct TrainingRunTests {
    private static let images = 200, epochs = 4

    /// A run of a small network, augmented and shuffled; `stopAt` images of all epochs together it is interrupted.
    private func run(
      on backend: any Backend, _ directory: URL, interruptAt: Int? = nil, resume: Bool = false,
      interruptEvaluation: Int? = nil, goal: TrainingRun.Goal? = nil, asr: Double? = nil,
      finished: @escaping (TrainingRun.Epoch) -> Void = { _ in }
    ) throws -> (weights: [Float], history: [TrainingRun.Epoch]) {
      let training = try barImages(Self.images, seed: 1)
      let specification = NetworkSpecification(
        .mnistNet, width: 4, classes: 4, channels: 1, height: 12, imageWidth: 12)
      let weights = try Weights(specification.graph(), on: backend)
      try weights.initialise(seed: 3)
      var settings = TrainingSettings()
      settings.batch = 48
      settings.learning_rate = 0.05
      settings.schedule = .oneCycle
      settings.nesterov = true
      settings.augmentation = Augmentation(flips: true)
      let evaluator = try Evaluator(weights, test: barImages(60, seed: 2), attack: nil)
      let run = TrainingRun(
        try Trainer(weights, data: DeviceImages(training, on: backend), settings: settings),
        images: Self.images, epochs: Self.epochs, goal: goal, checkpoint: directory.path + "/checkpoint",
        identity: try RunIdentity(settings))
      if resume { #expect(try run.resume() == backend.device.identifier) }
      var evaluations = run.history.count { $0.metrics != nil }
      try run.run(
        TrainingRun.Observer(
          progress: { _, share in
            if let interruptAt, Int((share * Double(Self.images * Self.epochs)).rounded()) >= interruptAt {
              throw PBEError(.interrupted, "interrupted")
            }
          },
          evaluate: { _, _ in
            evaluations += 1
            if evaluations == interruptEvaluation { throw PBEError(.interrupted, "interrupted") }
            var metrics = try evaluator.evaluate()
            metrics.asr = asr
            return metrics
          },
          finished: { report in
            #expect(report.imagesPerSecond ?? 0 >= 0 && report.secondsLeft >= 0)
            finished(report.epoch)
          }))
      return (try backend.read(weights.trained), run.history)
    }

    /// Between two steps of an epoch, after an epoch's last step, during an evaluation: the resumed run is the same.
    @Test(arguments: TestDevices.usable.indices, [1, 48, 200, 344, 800, -1, -4])
    func resumedEqualsUninterrupted(_ device: Int, at: Int) throws {
      let backend = TestDevices.usable[device]
      try TestFiles.withDirectory { directory in
        let whole = try run(on: backend, directory)
        try FileManager.default.removeItem(at: directory.appendingPathComponent("checkpoint"))
        var told: [TrainingRun.Epoch] = []
        let error = #expect(throws: PBEError.self) {
          try run(
            on: backend, directory, interruptAt: at > 0 ? at : nil, interruptEvaluation: at < 0 ? -at : nil
          ) { told.append($0) }
        }
        #expect(error?.kind == .interrupted)
        let resumed = try run(on: backend, directory, resume: true) { told.append($0) }
        #expect(told == whole.history)
        #expect(resumed.weights == whole.weights)
        #expect(resumed.history == whole.history)
        #expect(resumed.history.count == Self.epochs)
        // Again, from the checkpoint of the last epoch: nothing is left to do.
        #expect(try run(on: backend, directory, resume: true).weights == whole.weights)
      }
    }

    @Test func stopsAtTheGoal() throws {
      try TestFiles.withDirectory { directory in
        let whole = try run(on: TestDevices.cpu, directory)
        let first = try #require(whole.history.first?.metrics?.acc)
        let stopped = try run(on: TestDevices.cpu, directory, goal: TrainingRun.Goal(acc: first))
        #expect(stopped.history == Array(whole.history.prefix(1)))
        let unreached = try run(on: TestDevices.cpu, directory, goal: TrainingRun.Goal(acc: 1.1))
        #expect(unreached.history == whole.history)
        // Of an attack both have to be reached.
        for (asr, epochs) in [(0.5, Self.epochs), (0.9, 1)] {
          let goal = TrainingRun.Goal(acc: first, asr: 0.9)
          #expect(try run(on: TestDevices.cpu, directory, goal: goal, asr: asr).history.count == epochs)
        }
      }
    }
  }
}
