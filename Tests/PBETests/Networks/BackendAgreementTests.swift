import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// Whole steps on every OpenCL device against the CPU. Fails where there is no OpenCL device: a green run that skipped
  /// the GPU code has validated nothing.
  @Suite(.serialized)
  struct BackendAgreementTests {
    private struct Steps {
      let weights: Weights
      let backend: any Backend
      let images: Tensor, example: Tensor, labels: Tensor, samples: Tensor, totals: Tensor
      let pgd: any Executable, train: any Executable

      init(_ specification: NetworkSpecification, batch: Int, on backend: any Backend) throws {
        self.backend = backend
        weights = try Weights(specification.graph(), on: backend)
        try weights.initialise(seed: 3)
        let input = weights.graph.input
        let shape = Shape(batch, input.c, input.h, input.w)
        var stream = PhiloxStream(seed: 4, purpose: 0)
        let pixels = (0..<shape.count).map { _ in stream.nextUniform() }
        images = try backend.makeTensor(pixels, shape: shape, role: .image)
        example = try backend.makeTensor(pixels, shape: shape, role: .image)
        labels = try backend.makeTensor(
          (0..<batch).map { Int32($0 % specification.classes) }, shape: Shape(batch, 1))
        samples = try backend.makeTensor((0..<batch).map { Int32($0 * 7) }, shape: Shape(batch, 1))
        totals = try backend.makeTensor(.vector(2))
        let compiled = try backend.compile([
          Plans.pgdStep(
            weights, adversarial: example, origin: images, labels: labels, samples: samples, totals: totals,
            attack: PGD()),
          Plans.train(
            weights, images: example, labels: labels, samples: samples, totals: totals,
            optimizer: Optimizer(weights), seed: 5),
        ])
        (pgd, train) = (compiled[0], compiled[1])
      }
    }

    @Test func coversAnOpenCLDevice() {
      let covered = TestDevices.usable.map { "\($0.device.identifier) (\($0.device.name))" }
      print("devices covered: \(covered.joined(separator: ", "))")
      #expect(
        TestDevices.usable.contains { $0.device.identifier.hasPrefix("opencl") }, "no OpenCL device was found"
      )
    }

    static let networks = [
      NetworkSpecification(.preactresnet18, width: 16, classes: 10, channels: 3),
      NetworkSpecification(.preactresnet18, width: 5, classes: 7, channels: 1, height: 28, imageWidth: 28),
      NetworkSpecification(.smallVGG, width: 8, classes: 43, channels: 3),
      NetworkSpecification(.mnistNet, classes: 10, channels: 1, height: 28, imageWidth: 28),
      NetworkSpecification(
        .wrn16x1, classes: 10, channels: 3, mean: [0.5, 0.4, 0.3], deviation: [0.2, 0.25, 0.3]),
    ]

    @Test(arguments: networks)
    func attackAndTrainingStep(_ specification: NetworkSpecification) throws {
      for backend in TestDevices.usable.dropFirst() {
        let reference = try Steps(specification, batch: 6, on: TestDevices.cpu)
        let steps = try Steps(specification, batch: 6, on: backend)
        for side in [reference, steps] {
          try side.backend.write(side.backend.read(side.images), to: side.example)
          for _ in 0..<7 { try side.pgd.run(RunParameters(epoch: 2)) }
        }
        let (a, b) = (try backend.read(steps.example), try reference.backend.read(reference.example))
        let equal = zip(a, b).count { abs($0 - $1) < 1e-6 }
        #expect(Double(equal) / Double(a.count) >= 0.999, "the examples of a 7-step attack")

        // Both train on the same examples: a sign that rounding turned must not count twice.
        try backend.write(b, to: steps.example)
        let saved = try reference.weights.graph.parameters.map {
          try TestDevices.cpu.read(reference.weights.tensor($0.name))
        }
        for side in [reference, steps] {
          try side.backend.write([Float(0), 0], to: side.totals)
          try side.train.run(RunParameters(epoch: 2, learningRate: 0.1))
        }
        let (lossA, lossB) = (try backend.read(steps.totals), try TestDevices.cpu.read(reference.totals))
        #expect(abs(lossA[0] - lossB[0]) < 1e-4 * abs(lossB[0]))
        var moved = 0.0
        for (index, parameter) in reference.weights.graph.parameters.enumerated() {
          let after = try TestDevices.cpu.read(reference.weights.tensor(parameter.name))
          let other = try backend.read(steps.weights.tensor(parameter.name))
          // What the step changed, so that the weights don't hide it. A single ReLU whose input rounds to the other side
          // of zero, one of some ten thousand, makes an error of 1e-5 to 1e-4; each operator alone is held to 1e-10 by
          // the parity table, and a wrong term would be 1e-2 or more.
          let (change, otherChange) = (
            zip(after, saved[index]).map { $0 - $1 }, zip(other, saved[index]).map { $0 - $1 }
          )
          #expect(normalisedError(otherChange, change) < 1e-3, "\(parameter.name)")
          moved += normalisedError(saved[index], after)
        }
        #expect(moved > 0, "the training step changed nothing")
      }
    }

    @Test(arguments: TestDevices.usable.indices)
    func sameSeedSameNumbers(_ device: Int) throws {
      let specification = NetworkSpecification(.preactresnet18, width: 8, classes: 10, channels: 3)
      let runs = try (0..<2).map { _ in
        let steps = try Steps(specification, batch: 5, on: TestDevices.usable[device])
        for _ in 0..<2 {
          try steps.pgd.run(RunParameters())
          try steps.train.run(RunParameters(learningRate: 0.05))
        }
        return try steps.backend.read(steps.weights.trained)
      }
      #expect(runs[0] == runs[1])
    }
  }
}
