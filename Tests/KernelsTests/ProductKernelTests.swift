@testable import Kernels
@testable import Parity
import Testing

/// The products of OpenCL devices by every algorithm, with sizes that differ in what they make the kernels do. The
/// whole parity table runs on the smallest tiles (scripts/test), these few cases on others.
@Suite(.serialized) struct ProductKernelTests {
  /// Parameters, and the cases that they are tried on: compiling a variant takes CPU drivers a second or more.
  struct Choice: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let parameters: ProductParameters
    let cases: [OperatorCase]
  }

  /// All three directions of a convolution.
  private static func directions(_ shape: ConvolutionShape) -> [OperatorCase] {
    [
      ParityTable.convolution(shape), ParityTable.inputGradient(shape, accumulate: true),
      ParityTable.filterGradient(shape),
    ]
  }

  private static func fused(_ suffix: String) -> [OperatorCase] {
    ParityTable.fusedConvolutions.filter { $0.name.hasSuffix(suffix) }
  }

  private static func matrices(_ sizes: String) -> [OperatorCase] {
    ParityTable.matrixProducts.filter { $0.name.hasPrefix("matrixProduct/\(sizes)") }
  }

  static let choices: [Choice] = [
    // As NVIDIA's default: two buffers, vectors of four, work-groups of 256.
    Choice(
      testDescription: "large tiles",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 128, tileN: 128, tileK: 16, itemM: 8, itemN: 8, buffers: 2),
      cases: directions(.same(3, 64, 9, 6, to: 68))),
    // One column of work-items, several loads per work-item, sums in many parts; channels that fill no vector.
    Choice(
      testDescription: "tall tiles, split sums",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 64, tileN: 16, tileK: 8, itemM: 4, itemN: 4, pad: 0, buffers: 2, fill: 64),
      cases: directions(.same(1, 17, 5, 6, to: 19))
        + directions(ConvolutionShape(2, 16, 9, 9, to: 24, 3, 3, stride: 2, padding: 1))
        + matrices("33x65x129")),
    // More work-items than loads; strides and dilations that share a divisor, and such that don't.
    Choice(
      testDescription: "wide tiles of pairs",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 16, tileN: 64, tileK: 4, itemM: 2, itemN: 4, vector: 2, pad: 2),
      cases: directions(ConvolutionShape(2, 6, 11, 12, to: 10, 3, 3, stride: 3, padding: 2, dilation: 2))
        + directions(ConvolutionShape(2, 6, 11, 12, to: 10, 3, 3, stride: 2, padding: 2, dilation: 2))
        + fused("3x3 stride 2 padding 1, affine relu bias residual") + matrices("17x18x19")),
    // One image at a time; transforms of four channels.
    Choice(
      testDescription: "Winograd, wide transforms",
      parameters: ProductParameters(
        algorithm: .winograd, tileM: 32, tileN: 32, tileK: 8, buffers: 2, fill: 64, lanes: 4, scratch: 1),
      cases: directions(.same(5, 64, 9, 26, to: 68)) + fused("3x3 padding 1, affine relu bias residual")),
    // No padding, and more than the kernel's; transforms of two channels, and of one where they are odd.
    Choice(
      testDescription: "Winograd, transforms of pairs",
      parameters: ProductParameters(algorithm: .winograd, tileM: 32, tileN: 16, tileK: 8, itemN: 4, lanes: 2),
      cases: directions(ConvolutionShape(2, 18, 9, 9, to: 22, 3, 3))
        + directions(ConvolutionShape(2, 16, 7, 7, to: 17, 3, 3, padding: 2))),
  ]

  @Test(arguments: choices) func parity(_ choice: Choice) throws {
    #expect(choice.cases.count >= 3)
    for device in OpenCLDevice.all.devices where device.description.unusable == nil {
      var tuning = try OpenCLTuning(device.limits, environment: ["PBE_GPU_KERNELS": "gpu"])
      var products: [ProductFamily: ProductParameters] = [:]
      for family in ProductFamily.allCases where choice.parameters.algorithm == .tiled || family.is3x3 {
        products[family] = choice.parameters
      }
      #expect(tuning.use(products).isEmpty, "the device can't have these sizes")
      let backend = try OpenCLBackend(device, tuning: tuning)
      for operatorCase in choice.cases {
        let result = ParityRunner.run(operatorCase, on: backend)
        #expect(
          result.passed, "\(device.description.identifier), \(choice.testDescription): \(result.description)")
      }
    }
  }

  /// Sums that are long, few, or in several groups of images: what the shapes of real batches bring.
  @Test func kernelsThatAreChosen() throws {
    let limits = OpenCLLimits(
      isCPU: false, vendor: .nvidia, computeUnits: 132, largestGroup: 1024, localMemory: 48 << 10,
      largestAllocation: 1 << 30)
    let tuning = try OpenCLTuning(limits, environment: [:])
    func kernels(
      _ shape: ConvolutionShape, filterGradient: Bool = false, after activation: Activation? = nil
    ) throws -> [String] {
      var program = Program()
      let x = program.temporary(shape.input)
      let y = program.temporary(shape.output)
      let w = program.temporary(shape.filter, role: .filter)
      let prologue = activation.map { Prologue(activation: $0) }
      program.append(
        filterGradient
          ? .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: x, outputGradient: y, filterGradient: w, geometry: shape.geometry, prologue: prologue))
          : .convolution(
            Convolution(input: x, filter: w, output: y, geometry: shape.geometry, prologue: prologue)))
      return try LaunchBuilder(program, tuning: tuning).plans.map(\.kernel)
    }
    let group = ["winograd_input", "tiled_product", "winograd_output"]
    // 147 KiB of transformed numbers per image: one group of 128, three of 1024.
    #expect(try kernels(.same(128, 512, 4, 4, to: 512)) == ["winograd_filter"] + group)
    #expect(try kernels(.same(1024, 512, 4, 4, to: 512)) == ["winograd_filter"] + group + group + group)
    // A function that costs much is computed once for all groups, one that doesn't where the input is loaded.
    for (activation, once) in [(Activation.tanh, 1), (.relu, 0)] {
      for filterGradient in [false, true] {
        let names = try kernels(
          .same(1024, 512, 4, 4, to: 512), filterGradient: filterGradient, after: activation)
        #expect(names.count { $0 == "affine_activation" } == once)
        #expect(names.count { $0 == "winograd_input" } == 3)
      }
    }
    #expect(
      try kernels(.same(128, 64, 32, 32, to: 64), filterGradient: true).suffix(2)
        == ["sum_parts", "winograd_filter_gradient"])
    #expect(try kernels(.same(128, 3, 32, 32, to: 64)) == ["tiled_product"])
    // One tile of the result: its sums are split.
    #expect(
      try kernels(ConvolutionShape(1, 256, 8, 8, to: 512, 3, 3, stride: 2, padding: 1))
        == ["tiled_product", "sum_parts"])
    #expect(
      try kernels(ConvolutionShape(2, 8, 8, 8, to: 8, 3, 3, padding: 1, groups: 4)) == ["grouped_convolution"]
    )
  }
}
