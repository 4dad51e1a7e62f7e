import Testing

@testable import Kernels
@testable import Parity

/// A network that diverged must not look as if it computed something.
@Suite struct NotANumberTests {
  @Test(arguments: TestDevices.usable.indices, Activation.everyCase)
  func staysOneThrough(_ device: Int, activation: Activation) throws {
    let backend = TestDevices.usable[device]
    let values: [Float] = [.nan, 1, -1, .nan, 2, .nan]
    let input = try backend.makeTensor(values, shape: Shape(1, 1, 2, 3), role: .image)
    let output = try backend.makeTensor(Shape(1, 1, 2, 3), role: .image)
    var program = Program()
    program.append(
      .affineActivation(
        AffineActivation(
          input: program.bind(input), affine: nil, activation: activation, output: program.bind(output))))
    try backend.compile([program])[0].run(RunParameters())
    let result: [Float] = try backend.read(output)
    #expect(zip(values, result).allSatisfy { $0.isNaN == $1.isNaN }, "\(result)")
  }

  /// Of a window as well, wherever in it that is.
  @Test(arguments: TestDevices.usable.indices, [true, false])
  func staysOneThroughPooling(_ device: Int, isMaximum: Bool) throws {
    let backend = TestDevices.usable[device]
    let values: [Float] = [.nan, 1, 2, 3, 4, 5, 6, .nan, 0, .nan, .nan, .nan, 1, 2, .nan, .nan]
    let input = try backend.makeTensor(values, shape: Shape(1, 1, 4, 4), role: .image)
    let output = try backend.makeTensor(Shape(1, 1, 2, 2), role: .image)
    var program = Program()
    let geometry = PoolGeometry(isMaximum ? .maximum : .average, kernelHeight: 2, kernelWidth: 2, stride: 2)
    program.append(
      .pool(Pool(input: program.bind(input), output: program.bind(output), geometry: geometry)))
    try backend.compile([program])[0].run(RunParameters())
    let result: [Float] = try backend.read(output)
    #expect(result.map(\.isNaN) == [true, true, true, true], "\(result)")
  }

  /// The gradient goes to what the maximum is: the first that is no number, where there is one.
  @Test(arguments: TestDevices.usable.indices)
  func gradientOfPooling(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    let values: [Float] = [.nan, 1, 2, 3, 4, 5, 6, .nan, 0, .nan, 2, 2, .nan, 1, 1, 2]
    let input = try backend.makeTensor(values, shape: Shape(1, 1, 4, 4), role: .image)
    let gradient = try backend.makeTensor([Float(1), 2, 3, 4], shape: Shape(1, 1, 2, 2), role: .image)
    let output = try backend.makeTensor(Shape(1, 1, 4, 4), role: .image)
    var program = Program()
    let geometry = PoolGeometry(.maximum, kernelHeight: 2, kernelWidth: 2, stride: 2)
    program.append(
      .poolGradient(
        PoolGradient(
          outputGradient: program.bind(gradient), input: program.bind(input),
          inputGradient: program.bind(output), geometry: geometry)))
    try backend.compile([program])[0].run(RunParameters())
    #expect(try backend.read(output) == [Float(1), 0, 0, 0, 0, 0, 0, 2, 0, 3, 4, 0, 0, 0, 0, 0])
  }

  /// Pixels that are none stay so, however they are limited.
  @Test(arguments: TestDevices.usable.indices, [false, true])
  func pixels(_ device: Int, isL2: Bool) throws {
    let backend = TestDevices.usable[device]
    let shape = Shape(1, 1, 2, 2)
    func tensor(_ values: [Float]) throws -> Tensor {
      try backend.makeTensor(values, shape: shape, role: .image)
    }
    let (image, attacked) = (try tensor([.nan, 0.5, 0.99, 0]), try tensor([.nan, 0.5, 0.99, 0]))
    let (gradient, ones) = (try tensor([1, 1, 1, 0]), try tensor([1, 1, 1, 1]))
    let triggered = try backend.makeTensor(shape, role: .image)
    var program = Program()
    let (own, origin) = (program.bind(attacked), program.bind(image))
    program.append(
      .pgdStep(
        PGDStep(
          adversarial: own, origin: origin, gradient: program.bind(gradient), stepSize: 0.1, epsilon: 0.2,
          clip: true, norm: isL2 ? .two : .infinity)))
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: origin, pattern: program.bind(ones), mask: program.bind(ones), flags: nil,
          output: program.bind(triggered), kind: .additive, clip: true)))
    try backend.compile([program])[0].run(RunParameters())
    let (moved, added) = (try backend.read(attacked), try backend.read(triggered))
    #expect(moved[0].isNaN && added[0].isNaN, "\(moved), \(added)")
    #expect(added[1...] == [1, 1, 1] && (isL2 || moved[2] == 1))
  }

  /// Models of which one gives no numbers do not agree.
  @Test(arguments: TestDevices.usable.indices)
  func agreement(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    let rows: [[Float]] = [
      [1, 2, 3], [.infinity, 2, 3], [1, .nan, 3], [-.infinity, .infinity, 0], [0, 0, 0],
    ]
    let shape = Shape(5, 3, 1, 1)
    let one = try backend.makeTensor(rows.flatMap { $0 }, shape: shape)
    let other = try backend.makeTensor(rows.flatMap { _ in rows[0] }, shape: shape)
    for (a, b) in [(one, other), (other, one)] {
      let output = try backend.makeTensor(.vector(5))
      var program = Program()
      program.append(
        .agreement(Agreement(a: program.bind(a), b: program.bind(b), output: program.bind(output))))
      try backend.compile([program])[0].run(RunParameters())
      let result = try backend.read(output)
      #expect(abs(result[0] - 1) < 1e-6 && result[1...] == [0, 0, 0, 0], "\(result)")
    }
  }

  /// Batch norm that is told to leave its running statistics leaves them, whatever the images are.
  @Test(arguments: TestDevices.usable.indices)
  func runningStatisticsStay(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    let input = try backend.makeTensor(
      [Float](repeating: .infinity, count: 8), shape: Shape(2, 1, 2, 2), role: .image)
    let one = try backend.makeTensor([Float(1)], shape: .vector(1))
    let (mean, variance) = (
      try backend.makeTensor([Float(0.5)], shape: .vector(1)),
      try backend.makeTensor([Float(2)], shape: .vector(1))
    )
    var program = Program()
    func vector() -> Value { program.temporary(.vector(1), role: .plain) }
    program.append(
      .batchNormStatistics(
        BatchNormStatistics(
          input: program.bind(input), gamma: program.bind(one), beta: program.bind(one),
          runningMean: program.bind(mean), runningVariance: program.bind(variance), mean: vector(),
          inverseDeviation: vector(), affine: ChannelAffine(scale: vector(), shift: vector()), momentum: 0)))
    try backend.compile([program])[0].run(RunParameters())
    #expect(try backend.read(mean) == [Float(0.5)] && backend.read(variance) == [Float(2)])
  }

  /// Clipping does not make zeros of gradients that nothing can shorten, whose step would look like a sound one.
  @Test(arguments: TestDevices.usable.indices)
  func clippingShowsDivergence(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    func clipped(_ values: [Float]) throws -> [Float] {
      let gradients = try backend.makeTensor(values, shape: .vector(values.count))
      var program = Program()
      program.append(.clipGradients(ClipGradients(gradients: program.bind(gradients), length: 1)))
      try backend.compile([program])[0].run(RunParameters())
      return try backend.read(gradients)
    }
    #expect(try clipped([3e15, -4e15]).elementsEqual([0.6, -0.8]) { abs($0 - $1) < 1e-5 })
    for bad in [Float.infinity, -.infinity, .nan] {
      #expect(try !clipped([bad, 1])[0].isFinite)
    }
    // Finite, but with a square that single precision does not hold.
    let huge = try clipped([3e20, -4e20])
    #expect(huge[0] > 0.5 && huge[1] < -0.5)
  }
}
