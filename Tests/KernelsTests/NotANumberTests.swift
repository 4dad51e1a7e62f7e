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
}
