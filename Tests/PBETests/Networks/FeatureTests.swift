import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// What the final linear layer reads, and masks on it.
  @Suite(.serialized)
  struct FeatureTests {
    /// Final layers over pooled features, over an image that they flatten, and after an activation and dropout.
    static let networks: [(specification: NetworkSpecification, layer: String, features: Int)] = [
      (NetworkSpecification(.preactresnet18, width: 4, classes: 4, channels: 1), "linear", 32),
      (NetworkSpecification(.smallVGG, width: 8, classes: 4, channels: 1), "classifier", 512),
      (NetworkSpecification(.mnistNet, width: 4, classes: 4, channels: 1), "linear9", 512),
    ]

    private func weights(_ network: Int, on backend: any Backend) throws -> Weights {
      let weights = try Weights(Self.networks[network].specification.graph(), on: backend)
      try weights.initialise(seed: 11)
      return weights
    }

    @Test(arguments: TestDevices.usable.indices, networks.indices)
    func logitsAreLinearInThem(_ device: Int, _ network: Int) throws {
      let backend = TestDevices.usable[device]
      let (_, layer, count) = Self.networks[network]
      let weights = try weights(network, on: backend)
      let data = try DeviceImages(barImages(11, size: 32, seed: 1), on: backend)
      let scorer = try Scorer(weights, data: data, batch: 4, keepsFeatures: true)
      try scorer.run()
      let table = try #require(scorer.features)
      #expect(table.shape.n == 11 && table.shape.count == 11 * count)
      let features = try backend.read(table)
      let (weight, bias) = (
        try backend.read(weights.tensor("\(layer).weight")), try backend.read(weights.tensor("\(layer).bias"))
      )
      let logits = (0..<11 * 4).map { i in
        let (row, output) = (i / 4, i % 4)
        return (0..<count).reduce(Double(bias[output])) {
          $0 + Double(weight[output * count + $1]) * Double(features[row * count + $1])
        }
      }
      #expect(normalisedError(try backend.read(scorer.logits), logits) < 1e-10)
      #expect(try Scorer(weights, data: data).features == nil)
    }

    /// Pruned weights stay zero, and the others learn as if there were no mask.
    @Test(arguments: TestDevices.usable.indices, networks.indices)
    func maskedWeightsStayZero(_ device: Int, _ network: Int) throws {
      let backend = TestDevices.usable[device]
      let (_, layer, count) = Self.networks[network]
      let name = "\(layer).weight"
      let (masked, free) = (try weights(network, on: backend), try weights(network, on: backend))
      let keeps = (0..<count).map { $0 % 3 != 1 }
      let mask = try masked.mask(keepingInputs: keeps, of: name)
      let original = try backend.read(masked.tensor(name))
      try backend.compile([Plans.mask(masked, [mask])])[0].run(RunParameters())
      let pruned = try backend.read(masked.tensor(name))
      #expect(pruned == original.indices.map { keeps[$0 % count] ? original[$0] : 0 })
      try free.copy(from: masked)

      let images = try backend.makeTensor(
        barImages(6, size: 32, seed: 2).pixels.map { Float($0) / 255 }, shape: Shape(6, 1, 32, 32),
        role: .image)
      let labels = try backend.makeTensor((0..<6).map { Int32($0 % 4) }, shape: Shape(6, 1))
      let samples = try backend.makeTensor((0..<6).map { Int32($0) }, shape: Shape(6, 1))
      let totals = try backend.makeTensor(.vector(2))
      for (weights, masks) in [(masked, [mask]), (free, [])] {
        try backend.compile([
          Plans.train(
            weights, images: images, labels: labels, samples: samples, totals: totals,
            optimizer: Optimizer(weights), seed: 1, masks: masks)
        ])[0].run(RunParameters(learningRate: 0.1))
      }
      let (after, unmasked) = (try backend.read(masked.tensor(name)), try backend.read(free.tensor(name)))
      #expect(after == unmasked.indices.map { keeps[$0 % count] ? unmasked[$0] : 0 })
      #expect(unmasked != after)
      #expect(after != pruned)
    }

    /// A flag for each channel of a flattened image prunes all of its pixels.
    @Test func maskByChannel() throws {
      let weights = try weights(1, on: TestDevices.cpu)
      let factors = try TestDevices.cpu.read(
        weights.mask(keepingInputs: (0..<32).map { $0 != 5 }, of: "classifier.weight").factors)
      #expect(factors == (0..<4 * 512).map { $0 % 512 / 16 == 5 ? 0 : 1 })
      #expect(throws: PBEError.self) {
        try weights.mask(keepingInputs: [true, false], of: "classifier.weight")
      }
      #expect(throws: PBEError.self) { try weights.mask(keepingInputs: [true], of: "none.weight") }
    }
  }
}
