import Testing

@testable import Kernels

/// Windows that do not fit into an image.
@Suite struct WindowTests {
  @Test func countsWholeWindows() {
    #expect(windowCount(in: 5, padding: 0, window: 3, stride: 2) == 2)
    #expect(windowCount(in: 3, padding: 0, window: 3, stride: 4) == 1)
    #expect(windowCount(in: 1, padding: 1, window: 3, stride: 1) == 1)
    // Rounded towards zero these would be one.
    #expect(windowCount(in: 2, padding: 0, window: 3, stride: 2) == 0)
    #expect(windowCount(in: 1, padding: 0, window: 4, stride: 4) == 0)
    let geometry = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 1, stride: 2)
    #expect(geometry.output(Shape(1, 4, 2, 2), channels: 8) == Shape(1, 8, 0, 1))
    let pool = PoolGeometry(.average, kernelHeight: 4, kernelWidth: 4, stride: 4)
    #expect(pool.output(Shape(1, 4, 3, 8)) == Shape(1, 4, 0, 2))
  }

  /// No kernel is asked for what has no pixels: it would read beyond the image.
  @Test(arguments: TestDevices.usable.indices)
  func emptyResultsAreRefused(_ device: Int) throws {
    let backend = TestDevices.usable[device]
    let (input, filter) = (Shape(1, 4, 2, 2), Shape(8, 4, 3, 3))
    let geometry = ConvolutionGeometry(kernelHeight: 3, kernelWidth: 3, stride: 2)
    var program = Program()
    let x = program.bind(try backend.makeTensor(input, role: .image))
    let w = program.bind(try backend.makeTensor(filter, role: .filter))
    let y = program.temporary(geometry.output(input, channels: 8))
    program.append(.convolution(Convolution(input: x, filter: w, output: y, geometry: geometry)))
    let error = #expect(throws: PBEError.self) { try backend.compile([program]) }
    #expect(error?.what.contains("no elements") == true)
  }
}
