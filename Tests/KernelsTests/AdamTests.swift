import Testing

@testable import Kernels

@Suite struct AdamTests {
  /// Moments of a weight that gets no gradient decay; as denormal numbers they would stay for good, and be slow.
  @Test(arguments: TestDevices.usable.indices)
  func momentsThatDecayEndAtZero(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    let least = Float.leastNormalMagnitude
    // The last one has a gradient: it must keep its moments.
    let start: [Float] = [least, -least, 2 * least, 0]
    let parameters = try backend.makeTensor([1, 2, 3, 4] as [Float], shape: .vector(4))
    let gradients = try backend.makeTensor([0, 0, 0, 1] as [Float], shape: .vector(4))
    let first = try backend.makeTensor(start, shape: .vector(4))
    let second = try backend.makeTensor(start.map(\.magnitude), shape: .vector(4))
    var program = Program()
    program.append(
      .adam(
        Adam(
          parameters: program.bind(parameters), gradients: program.bind(gradients),
          firstMoment: program.bind(first), secondMoment: program.bind(second), beta1: 0.5, beta2: 0.75)))
    try backend.compile([program])[0].run(RunParameters(step: 1, learningRate: 0.25))
    #expect(try backend.read(first) as [Float] == [0, 0, least, 0.5])
    #expect(try backend.read(second) as [Float] == [0, 0, 1.5 * least, 0.25])
    let moved: [Float] = try backend.read(parameters)
    #expect(moved.prefix(3) == [1, 2, 3])
    #expect(abs(moved[3] - 3.75) < 1e-6)
  }
}
