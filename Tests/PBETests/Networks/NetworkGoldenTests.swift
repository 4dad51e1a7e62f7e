import Foundation
import Kernels
import Parity
import Testing

@testable import PBE

/// The golden PreActResNet-18 of width 8: PyTorch's float64 results for a whole network, where they are at hand.
private enum GoldenNetwork {
  static let directory = SharedGolden.directory

  static let needed = ConditionTrait.enabled(
    if: directory != nil, "NOT RUN: the shared golden files (no ../shared/golden, and no PBE_SHARED)")

  static func load() throws -> GoldenSet {
    try GoldenSet(directory: #require(directory), name: "preactresnet18_w8")
  }

  static let graph = try? NetworkSpecification(.preactresnet18, width: 8, classes: 43, channels: 3).graph()

  static func weights(_ golden: GoldenSet, on backend: any Backend) throws -> Weights {
    let weights = try Weights(#require(graph), on: backend)
    let state = try golden.golden("state")
    for specification in weights.graph.parameters {
      let values = try state.tensor(specification.name).values.map { Float($0) }
      try backend.write(values, to: weights.tensor(specification.name))
    }
    return weights
  }
}

/// A golden batch on a device, with what the plans need beside it.
private struct GoldenBatch {
  let images: Tensor, labels: Tensor, samples: Tensor, totals: Tensor

  init(_ golden: GoldenCase, on backend: any Backend) throws {
    images = try backend.makeTensor(
      golden.tensor("x").values.map { Float($0) }, shape: Shape(6, 3, 32, 32), role: .image)
    labels = try backend.makeTensor(golden.tensor("labels").values.map { Int32($0) }, shape: Shape(6, 1))
    samples = try backend.makeTensor((0..<6).map { Int32($0) }, shape: Shape(6, 1))
    totals = try backend.makeTensor(.vector(2))
  }
}

extension DeviceTests {
  @Suite(.serialized, GoldenNetwork.needed)
  struct NetworkGoldenTests {
    /// Gradients of a whole network jump where the input of a ReLU rounds to the other side of zero: one of the 49,152 of
    /// a layer makes an error of about 1/49,152. Without such a turn they agree to 1e-10, as the operators do.
    static let gradientBound = 1e-4

    @Test(arguments: TestDevices.usable.indices)
    func evaluation(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let golden = try GoldenNetwork.load()
      let expected = try golden.golden("eval")
      let weights = try GoldenNetwork.weights(golden, on: backend)
      let batch = try GoldenBatch(expected, on: backend)

      let logits = try backend.makeTensor(Shape(6, 43))
      try backend.compile([Plans.infer(weights, images: batch.images, logits: logits)])[0].run(
        RunParameters())
      #expect(normalisedError(try backend.read(logits), try expected.tensor("logits").values) < 1e-10)

      // The input gradient, as the PGD plan makes it.
      var lowering = Lowering(weights, mode: .evaluation, batch: 6, program: Program())
      let result = try lowering.forward(lowering.program.bind(batch.images))
      let gradient = lowering.program.temporary(Shape(6, 43))
      lowering.program.append(
        .softmaxCrossEntropy(
          SoftmaxCrossEntropy(
            logits: result, labels: lowering.program.bind(batch.labels),
            totals: lowering.program.bind(batch.totals), logitsGradient: gradient, gradientScale: 1 / 6)))
      var backward = BackwardPass(lowering, parameterGradients: [:], wantsInput: true)
      var (program, inputGradient) = try backward.write(logitsGradient: gradient)
      let copy = try backend.makeTensor(batch.images.shape, role: .image)
      program.append(.copy(Copy(input: try #require(inputGradient), output: program.bind(copy))))
      try backend.compile([program])[0].run(RunParameters())
      #expect(normalisedError(try backend.read(copy), try expected.tensor("dx").values) < Self.gradientBound)
      let loss = Double(try backend.read(batch.totals)[0]) / 6
      #expect(abs(loss / (try expected.tensor("loss").values[0]) - 1) < 1e-5)
    }

    @Test(arguments: TestDevices.usable.indices)
    func pgd(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let golden = try GoldenNetwork.load()
      let expected = try golden.golden("pgd")
      let weights = try GoldenNetwork.weights(golden, on: backend)
      let batch = try GoldenBatch(expected, on: backend)
      let example = try backend.makeTensor(
        try backend.read(batch.images), shape: batch.images.shape, role: .image)
      let step = try backend.compile([
        Plans.pgdStep(
          weights, adversarial: example, origin: batch.images, labels: batch.labels, samples: batch.samples,
          totals: batch.totals, attack: PGD())
      ])[0]
      for _ in 0..<7 { try step.run(RunParameters()) }
      let wanted = try expected.tensor("adversarial").values
      let made = try backend.read(example)
      let equal = zip(made, wanted).count { abs(Double($0) - $1) < 1e-6 }
      #expect(Double(equal) / Double(wanted.count) >= 0.999)
      // One more step measures the loss at the final example.
      try backend.write([Float(0), 0], to: batch.totals)
      try step.run(RunParameters())
      let loss = Double(try backend.read(batch.totals)[0]) / 6
      #expect(abs(loss / (try expected.tensor("loss").values[0]) - 1) < 1e-3)
    }

    @Test(arguments: TestDevices.usable.indices)
    func training(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let golden = try GoldenNetwork.load()
      let expected = try golden.golden("train")
      let weights = try GoldenNetwork.weights(golden, on: backend)
      let batch = try GoldenBatch(expected, on: backend)
      let optimizer = try Optimizer(weights, momentum: 0, weightDecay: 0)
      let step = try backend.compile([
        Plans.train(
          weights, images: batch.images, labels: batch.labels, samples: batch.samples, totals: batch.totals,
          optimizer: optimizer, seed: 0)
      ])[0]
      // With a learning rate of zero the parameters stay, and the gradients can be read.
      try step.run(RunParameters(learningRate: 0))
      for specification in weights.graph.parameters {
        if specification.isTrained {
          let gradient = try backend.read(try #require(optimizer.gradients[specification.name]))
          let wanted = try expected.tensor("grad.\(specification.name)").values
          #expect(normalisedError(gradient, wanted) < Self.gradientBound, "gradient of \(specification.name)")
        } else {
          let after = try backend.read(weights.tensor(specification.name))
          let wanted = try expected.tensor("after.\(specification.name)").values
          #expect(normalisedError(after, wanted) < 1e-10, "\(specification.name)")
        }
      }
      let loss = Double(try backend.read(batch.totals)[0]) / 6
      #expect(abs(loss / (try expected.tensor("loss").values[0]) - 1) < 1e-5)
    }

    @Test(arguments: TestDevices.usable.indices)
    func fiveSteps(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let golden = try GoldenNetwork.load()
      let losses = try golden.golden("five_steps").tensor("losses").values
      let weights = try GoldenNetwork.weights(golden, on: backend)
      let batch = try GoldenBatch(golden.golden("train"), on: backend)
      let step = try backend.compile([
        Plans.train(
          weights, images: batch.images, labels: batch.labels, samples: batch.samples, totals: batch.totals,
          optimizer: Optimizer(weights), seed: 0)
      ])[0]
      for (index, wanted) in losses.enumerated() {
        try backend.write([Float(0), 0], to: batch.totals)
        try step.run(RunParameters(step: UInt32(index + 1), learningRate: 0.05))
        let loss = Double(try backend.read(batch.totals)[0]) / 6
        // Rounding grows from step to step of a training that moves fast on six images.
        #expect(abs(loss - wanted) < 1e-4 * pow(4, Double(index)) * max(1, wanted), "step \(index)")
      }
    }
  }
}
