import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// Sharpness-aware steps against the same steps by hand: a plan for each gradient, the rest on the host.
  @Suite(.serialized)
  struct SharpnessTests {
    /// Its activation has no kink. Batch norm, dropout, and channels that Winograd's algorithm takes.
    static let specification = NetworkSpecification(.smallVGG, width: 16, classes: 10, channels: 3)
    static let parameters = RunParameters(epoch: 2, learningRate: 0.1)

    /// A network and a batch.
    struct Setting {
      let backend: any Backend
      let weights: Weights
      let images: Tensor, labels: Tensor, samples: Tensor, totals: Tensor

      init(on backend: any Backend) throws {
        self.backend = backend
        weights = try Weights(SharpnessTests.specification.graph(), on: backend)
        try weights.initialise(seed: 3)
        let shape = Shape(6, 3, 32, 32)
        var stream = PhiloxStream(seed: 4, purpose: 0)
        images = try backend.makeTensor(
          (0..<shape.count).map { _ in stream.nextUniform() }, shape: shape, role: .image)
        labels = try backend.makeTensor((0..<6).map { Int32($0) }, shape: Shape(6, 1))
        samples = try backend.makeTensor((0..<6).map { Int32($0 * 7) }, shape: Shape(6, 1))
        totals = try backend.makeTensor(.vector(2))
      }

      func plain(_ optimizer: Optimizer, smoothing: Float) throws -> any Executable {
        try backend.compile([
          Plans.train(
            weights, images: images, labels: labels, samples: samples, totals: totals, optimizer: optimizer,
            seed: 5, smoothing: smoothing)
        ])[0]
      }

      func sharp(
        _ optimizer: Optimizer, radius: Float, adaptive: Bool, smoothing: Float
      ) throws -> any Executable {
        try backend.compile([
          Plans.sharpnessAwareTrain(
            weights, images: images, labels: labels, samples: samples, totals: totals, optimizer: optimizer,
            radius: radius, adaptive: adaptive, seed: 5, smoothing: smoothing)
        ])[0]
      }

      var trainedNames: [String] { weights.graph.parameters.filter(\.isTrained).map(\.name) }

      /// The trained parameters, in order.
      func trained() throws -> [[Float]] { try trainedNames.map { try backend.read(weights.tensor($0)) } }

      func setTrained(_ values: [[Float]]) throws {
        for (name, value) in zip(trainedNames, values) {
          try backend.write(value, to: weights.tensor(name))
        }
      }

      /// The running statistics, in order.
      func statistics() throws -> [[Float]] {
        try weights.graph.parameters.filter { !$0.isTrained }.map {
          try backend.read(weights.tensor($0.name))
        }
      }

      /// The gradients of the trained parameters where they are: with a learning rate of zero they stay.
      func gradients(smoothing: Float) throws -> [[Float]] {
        let optimizer = try Optimizer(weights, momentum: 0, weightDecay: 0)
        try plain(optimizer, smoothing: smoothing).run(RunParameters(epoch: 2, learningRate: 0))
        return try trainedNames.map { try backend.read(#require(optimizer.gradients[$0])) }
      }
    }

    @Test(arguments: TestDevices.usable.indices, [false, true])
    func sameAsByHand(_ device: Int, _ adaptive: Bool) throws {
      let backend = TestDevices.usable[device]
      let (radius, decay, smoothing): (Float, Float, Float) = (adaptive ? 2 : 0.5, 5e-4, 0.1)

      // The first pass, and its gradients.
      let first = try Setting(on: backend)
      let start = try first.trained()
      let gradients = try first.gradients(smoothing: smoothing)
      let pairs = zip(start, gradients).map { Array(zip($0, $1)) }
      let norm = pairs.joined().reduce(0.0) { sum, pair in
        let scaled = Double(pair.1) * (adaptive ? Double(pair.0) : 1)
        return sum + scaled * scaled
      }.squareRoot()
      // The second, from the weights and statistics of the start.
      let second = try Setting(on: backend)
      try second.setTrained(
        pairs.map { pairs in
          pairs.map { p, g in
            Float(Double(p) + Double(radius) * (adaptive ? Double(p) * Double(p) : 1) * Double(g) / norm)
          }
        })
      let ascended = try second.gradients(smoothing: smoothing)

      let sharp = try Setting(on: backend)
      try sharp.sharp(
        Optimizer(sharp.weights, weightDecay: decay), radius: radius, adaptive: adaptive, smoothing: smoothing
      ).run(Self.parameters)
      let plain = try Setting(on: backend)
      try plain.plain(Optimizer(plain.weights, weightDecay: decay), smoothing: smoothing).run(Self.parameters)

      func changes(_ setting: Setting) throws -> [Float] {
        zip(try setting.trained().joined(), start.joined()).map { $0 - $1 }
      }
      let expected = zip(start.joined(), ascended.joined()).map {
        -Double(Self.parameters.learningRate) * (Double($1) + Double(decay) * Double($0))
      }
      // What a step changes is a hundredth of the weights, which are rounded to 6e-8.
      let error = normalisedError(try changes(sharp), expected)
      let difference = normalisedError(try changes(plain), expected)
      #expect(error < 1e-8)
      #expect(difference > 1e-3, "the perturbation does not show")
      #expect(try sharp.statistics() == first.statistics(), "the first pass alone moves them")
      #expect(try sharp.statistics() != second.statistics())
      #expect(try backend.read(sharp.totals) == backend.read(first.totals), "the first pass alone counts")
      #expect(try backend.read(sharp.totals)[0] > 0)
    }

    /// A step is as long as the learning rate times the gradients' length at most, and in their direction.
    @Test(arguments: TestDevices.usable.indices)
    func clippedGradients(_ device: Int) throws {
      let setting = try Setting(on: TestDevices.usable[device])
      let start = try setting.trained()
      let gradients = try Array(setting.gradients(smoothing: 0).joined())
      let length = gradients.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      func step(_ most: Float?) throws -> [Float] {
        try setting.setTrained(start)
        let optimizer = try Optimizer(setting.weights, momentum: 0, weightDecay: 0, gradientLength: most)
        try setting.plain(optimizer, smoothing: 0).run(Self.parameters)
        return zip(try setting.trained().joined(), start.joined()).map { $0 - $1 }
      }
      let rate = Double(Self.parameters.learningRate)
      #expect(try normalisedError(step(Float(length / 4)), gradients.map { -rate * Double($0) / 4 }) < 1e-8)
      #expect(try step(Float(length * 2)) == step(nil))
    }

    @Test(arguments: TestDevices.usable.indices)
    func noRadiusIsPlainTraining(_ device: Int) throws {
      let (sharp, plain) = (
        try Setting(on: TestDevices.usable[device]), try Setting(on: TestDevices.usable[device])
      )
      let start = try sharp.trained()
      let steps = [
        try sharp.sharp(Optimizer(sharp.weights), radius: 0, adaptive: true, smoothing: 0),
        try plain.plain(Optimizer(plain.weights), smoothing: 0),
      ]
      for step in steps { for _ in 0..<2 { try step.run(Self.parameters) } }
      let (a, b) = (try sharp.trained().joined(), try plain.trained().joined())
      #expect(normalisedError(Array(a), Array(b)) < 1e-12)
      #expect(normalisedError(Array(a), Array(start.joined())) > 1e-6)
      #expect(try sharp.statistics() == plain.statistics())
      #expect(try sharp.backend.read(sharp.totals) == plain.backend.read(plain.totals))
    }
  }
}
