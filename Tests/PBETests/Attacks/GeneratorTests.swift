import Kernels
import Parity
import Testing

@testable import PBE

/// A program's tensors in double precision, as they are on a device.
private func machine(for program: Program, on backend: any Backend) throws -> ReferenceMachine {
  var machine = ReferenceMachine()
  for tensor in program.values.compactMap(\.tensor) {
    let values: [Double] =
      switch tensor.type {
      case .float32: try backend.read(tensor, as: Float.self).map(Double.init)
      case .int32: try backend.read(tensor, as: Int32.self).map(Double.init)
      case .uint8: try backend.read(tensor, as: UInt8.self).map(Double.init)
      }
    machine.tensors[ObjectIdentifier(tensor)] = ReferenceTensor(tensor.shape, values)
  }
  return machine
}

/// Holds a program's gradients of a network's parameters against central differences of its loss, in double precision.
///
/// - Parameter perElement: elements of each parameter that are tried.
private func checkGradients(
  _ program: Program, of weights: Weights, gradients: [String: Tensor], loss: (ReferenceMachine) -> Double,
  perParameter: Int = 3, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let start = try machine(for: program, on: weights.backend)
  func run(_ tensor: Tensor? = nil, _ element: Int = 0, _ change: Double = 0) -> ReferenceMachine {
    var machine = start
    if let tensor { machine.tensors[ObjectIdentifier(tensor)]?[element] += change }
    machine.run(program, RunParameters())
    return machine
  }
  let analytic = run()
  let step = 1e-6
  var (numeric, exact): ([Double], [Double]) = ([], [])
  for (name, gradient) in gradients.sorted(by: { $0.key < $1.key }) {
    let tensor = try weights.tensor(name)
    let found = try #require(analytic.tensors[ObjectIdentifier(gradient)])
    for trial in 0..<min(perParameter, tensor.shape.count) {
      let element = trial * 7919 % tensor.shape.count
      numeric.append((loss(run(tensor, element, step)) - loss(run(tensor, element, -step))) / (2 * step))
      exact.append(found[element])
    }
  }
  // The shift of a convolution before batch norm changes nothing: zero against rounding.
  let scale = numeric.map(abs).max() ?? 0
  #expect(scale > 1e-4, "nothing to compare", sourceLocation: sourceLocation)
  let error = zip(numeric, exact).map { abs($0 - $1) }.max() ?? .infinity
  #expect(error < 1e-5 * scale, "error \(error) of \(scale)", sourceLocation: sourceLocation)
}

/// Random numbers in 0..<1 that are the same everywhere.
private func noise(_ count: Int, purpose: UInt32 = 0) -> [Float] {
  var stream = PhiloxStream(seed: 12, purpose: purpose)
  return (0..<count).map { _ in stream.nextUniform() }
}

/// Grey or colour noise with random labels.
func noiseImages(_ count: Int, channels: Int, size: Int, classes: Int = 4) throws -> LabeledImages {
  try LabeledImages(
    name: "noise", channels: channels, height: size, width: size, classes: classes,
    pixels: noise(count * channels * size * size).map { UInt8($0 * 255) },
    labels: (0..<count).map { Int32($0 % classes) })
}

extension DeviceTests {
  @Suite(.serialized)
  struct GeneratorTests {
    /// The first stage's step, without the update.
    private struct MaskStep {
      let generators: Generators
      let diversity: Tensor, density: Tensor
      let gradients: [String: Tensor]
      let masks: Tensor
      let program: Program

      init(on backend: any Backend) throws {
        let shape = Shape(3, 3, 8, 8)
        generators = try Generators(
          for: shape, size: Generators.Size(for: shape, width: 4, levels: 2), on: backend)
        try generators.initialise(seed: 3)
        let images = try backend.makeTensor(noise(shape.count), shape: shape, role: .image)
        (diversity, density) = (try backend.makeTensor(.vector(1)), try backend.makeTensor(.vector(1)))
        gradients = try generators.mask.likeTrained().tensors
        masks = try backend.makeTensor(Shape(3, 1, 8, 8), role: .image)
        var lowering = Lowering(generators.mask, mode: .training, batch: 3, program: Program())
        let inputs = lowering.program.bind(images)
        let result = try lowering.forward(inputs)
        lowering.program.append(.copy(Copy(input: result, output: lowering.program.bind(masks))))
        let gradient = GeneratorLosses.diversity(
          inputs: inputs, outputs: result, total: diversity, weight: 2, in: &lowering.program)
        try GeneratorLosses.density(
          of: result, total: density, weight: 100, addingTo: gradient, on: backend, in: &lowering.program)
        var backward = BackwardPass(lowering, parameterGradients: gradients, wantsInput: false)
        program = try backward.write(outputGradient: gradient).program
      }
    }

    @Test func maskGradientsAreDifferences() throws {
      let step = try MaskStep(on: TestDevices.cpu)
      try checkGradients(step.program, of: step.generators.mask, gradients: step.gradients) { machine in
        2 * (machine.tensors[ObjectIdentifier(step.diversity)]?[0] ?? .nan)
          + 100 * (machine.tensors[ObjectIdentifier(step.density)]?[0] ?? .nan)
      }
    }

    /// The pattern generator's gradients, through the trigger and the victim, with cross images.
    @Test func patternGradientsAreDifferences() throws {
      let backend = TestDevices.cpu
      let images = try noiseImages(24, channels: 3, size: 8)
      let file = AttackFile(Dynamic(width: 4, levels: 2), target: 1, poisonRate: 0.25)
      let generators = try Dynamic(width: 4, levels: 2).makeGenerators(for: Shape(1, 3, 8, 8), on: backend)
      try generators.initialise(seed: 5)
      let victim = try Weights(
        NetworkSpecification(.smallVGG, width: 4, classes: 4, channels: 3, height: 8, imageWidth: 8).graph(),
        on: backend)
      try victim.initialise(seed: 6)
      var settings = TrainingSettings()
      settings.batch = 8
      let trainer = try DynamicTrainer(
        victim, generators: generators, training: images, poison: PoisonedSet(images, file),
        settings: settings, maskEpochs: 0)
      #expect(trainer.batches.poisoned == 2 && trainer.batches.cross == 2 && trainer.batches.batch == 8)
      try backend.write(trainer.batches.order(epoch: 0), to: trainer.rows)
      try checkGradients(
        trainer.stepProgram(), of: generators.pattern, gradients: trainer.generatorOptimizer.gradients,
        loss: { machine in
          (machine.tensors[ObjectIdentifier(trainer.totals)]?[0] ?? .nan) / 8
            + (machine.tensors[ObjectIdentifier(trainer.diversity)]?[0] ?? .nan)
        }, perParameter: 2)
    }

    /// What a device computes is what the reference does, which the differences were held against.
    @Test(arguments: TestDevices.usable.indices)
    func devicesAgreeWithTheReference(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let step = try MaskStep(on: backend)
      var reference = try machine(for: step.program, on: backend)
      reference.run(step.program, RunParameters())
      try backend.compile([step.program])[0].run(RunParameters())
      let masks = try #require(reference.tensors[ObjectIdentifier(step.masks)])
      #expect(normalisedError(try backend.read(step.masks), masks.values) < 1e-9)
      #expect(masks.values.allSatisfy { $0 > 0 && $0 < 1 })
      for (name, gradient) in step.gradients where !name.hasSuffix("conv.bias") {
        let wanted = try #require(reference.tensors[ObjectIdentifier(gradient)])
        #expect(normalisedError(try backend.read(gradient), wanted.values) < 1e-5, "\(name)")
      }
    }

    /// The official sizes.
    @Test func officialSizes() throws {
      let cifar = Graph.pattern(for: Shape(1, 3, 32, 32), width: 32, levels: 3)
      let channels = cifar.nodes.compactMap { node in
        if case .convolution(let channels, _, _) = node.layer { return channels } else { return nil }
      }
      #expect(channels == [32, 32, 64, 64, 128, 128, 128, 128, 64, 64, 32, 32, 3])
      #expect(cifar.nodes.last?.shape == Shape(1, 3, 32, 32))
      #expect(
        Graph.mask(for: Shape(1, 1, 28, 28), width: 16, levels: 2).nodes.last?.shape == Shape(1, 1, 28, 28))
      #expect(
        Generators.Size(for: Shape(1, 1, 28, 28))
          == Generators.Size(for: Shape(1, 1, 8, 8), width: 16, levels: 2))
    }

    @Test(arguments: [(0, 2), (4, 0), (4, 7), (512, 3), (4, 4), (.max, 1), (4, .max)])
    func wrongSizes(_ size: (Int, Int)) {
      #expect {
        try Dynamic(width: size.0, levels: size.1).makeGenerators(for: Shape(1, 3, 8, 8), on: TestDevices.cpu)
      } throws: { ($0 as? PBEError)?.kind == .badData }
    }
  }
}
