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
