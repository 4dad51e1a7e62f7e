import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// Learning from a teacher, and what shrinking leaves of a network.
  @Suite(.serialized)
  struct DistillationTests {
    private typealias Setting = SharpnessTests.Setting

    /// One step of training with a teacher of other weights; what the student becomes.
    private func step(
      _ setting: Setting, labelShare: Float?, question: Tensor? = nil
    ) throws -> [[Float]] {
      let start = try setting.trained()
      let other = try Weights(setting.weights.graph, on: setting.backend)
      try other.initialise(seed: 8)
      let before = try other.values()
      let plan = try setting.backend.compile([
        Plans.train(
          setting.weights, images: setting.images, labels: setting.labels, samples: setting.samples,
          totals: setting.totals, optimizer: Optimizer(setting.weights), seed: 5,
          teacher: labelShare.map { Teacher(other, temperature: 4, labelShare: $0) }, question: question)
      ])[0]
      try plan.run(SharpnessTests.parameters)
      #expect(try other.values() == before, "a teacher stays as it is")
      let result = try setting.trained()
      try setting.setTrained(start)
      return result
    }

    /// Labels alone teach what they teach without a teacher; a teacher's answers something else.
    @Test(arguments: TestDevices.usable.indices)
    func labelsAndTeacher(_ device: Int) throws {
      let setting = try Setting(on: TestDevices.usable[device])
      func distance(_ a: [[Float]], _ b: [[Float]]) -> Float {
        zip(a, b).map { zip($0, $1).map { abs($0 - $1) }.max() ?? 0 }.max() ?? 0
      }
      let plain = try step(setting, labelShare: nil)
      #expect(try distance(step(setting, labelShare: 1), plain) < 1e-6)
      let taught = try step(setting, labelShare: 0)
      #expect(distance(taught, plain) > 1e-3)
      // The teacher may answer other images than the student sees.
      let count = setting.images.shape.count
      let grey = try setting.backend.makeTensor(
        [Float](repeating: 0.5, count: count), shape: setting.images.shape, role: .image)
      #expect(try step(setting, labelShare: 0, question: setting.images) == taught)
      #expect(try distance(step(setting, labelShare: 0, question: grey), taught) > 1e-4)
    }

    /// The last layer gives forgotten classes one logit whatever the image; nothing else changes.
    @Test(arguments: TestDevices.usable.indices)
    func forgetting(_ device: Int) throws {
      let setting = try Setting(on: TestDevices.usable[device])
      let weights = setting.weights
      func logits() throws -> [[Float]] {
        let table = try setting.backend.makeTensor(Shape(6, weights.graph.classes), role: .plain)
        let plan = try setting.backend.compile([
          Plans.infer(weights, images: setting.images, logits: table)
        ])[0]
        try plan.run(RunParameters())
        let values: [Float] = try setting.backend.read(table)
        return stride(from: 0, to: values.count, by: 10).map { Array(values[$0..<$0 + 10]) }
      }
      let (start, before) = (try weights.values(), try logits())
      try weights.forget([])
      #expect(try weights.values() == start)
      for bias in [-100, 0] as [Float] {
        try weights.forget([2, 7], bias: bias)
        for (row, own) in zip(try logits(), before) {
          for label in 0..<10 {
            #expect([2, 7].contains(label) ? row[label] == bias : abs(row[label] - own[label]) < 1e-5)
          }
        }
      }
      #expect(
        try zip(weights.values(), start).count { $0 != $1 } <= 2
          * (weights.graph.nodes[weights.graph.penultimate].shape.count + 1))
    }

    /// Weights turn as far as the mixture says, by a seed; nothing else changes.
    @Test func shrinking() throws {
      let setting = try Setting(on: TestDevices.cpu)
      let weights = setting.weights
      func read(_ kinds: Set<ParameterSpecification.Kind>) throws -> [[Float]] {
        try weights.graph.parameters.filter { kinds.contains($0.kind) }.map {
          try setting.backend.read(weights.tensor($0.name))
        }
      }
      func cosine(_ a: [Float], _ b: [Float]) -> Float {
        func product(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        return product(a, b) / (product(a, a) * product(b, b)).squareRoot()
      }
      let rest: Set<ParameterSpecification.Kind> = [.bias, .gamma, .beta, .runningMean, .runningVariance]
      let (start, own, others) = (try weights.values(), try read([.weight]), try read(rest))
      try weights.shrink(keeping: 1, seed: 1)
      #expect(try read([.weight]) == own)
      try weights.shrink(keeping: 0.35, seed: 1)
      let shrunk = try read([.weight])
      #expect(try read(rest) == others)
      for (a, b) in zip(own, shrunk) where a.count > 1000 {
        // 0.35 / sqrt(0.35^2 + 0.65^2)
        #expect(abs(cosine(a, b) - 0.474) < 0.1)
      }
      try weights.setValues(start)
      try weights.shrink(keeping: 0.35, seed: 2)
      #expect(try read([.weight]) != shrunk)
    }
  }
}
