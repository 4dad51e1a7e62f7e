@testable import Kernels
@testable import Parity
import Testing

/// The products of OpenCL devices by every algorithm, with sizes that differ in what they make the kernels do. The
/// whole parity table runs on the smallest tiles (scripts/test), these few cases on others.
@Suite(.serialized) struct ProductKernelTests {
  /// What a run of the cases uses.
  struct Choice: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let parameters: ProductParameters
  }

  static let choices: [Choice] = [
    // As NVIDIA's default: two buffers, vectors of four, work-groups of 256.
    Choice(
      testDescription: "large tiles",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 128, tileN: 128, tileK: 16, itemM: 8, itemN: 8, buffers: 2)),
    // One column of work-items, several loads per work-item, sums in many parts.
    Choice(
      testDescription: "tall tiles, split sums",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 64, tileN: 16, tileK: 8, itemM: 4, itemN: 4, vector: 4, pad: 0, buffers: 2,
        fill: 64)),
    // More work-items than loads.
    Choice(
      testDescription: "wide tiles of pairs",
      parameters: ProductParameters(
        algorithm: .tiled, tileM: 16, tileN: 64, tileK: 4, itemM: 2, itemN: 4, vector: 2, pad: 2)),
    // One image at a time; transforms of four channels.
    Choice(
      testDescription: "Winograd, wide transforms",
      parameters: ProductParameters(
        algorithm: .winograd, tileM: 32, tileN: 32, tileK: 8, itemM: 4, itemN: 4, buffers: 2, fill: 64,
        lanes: 4,
        scratch: 1)),
    Choice(
      testDescription: "Winograd, transforms of pairs",
      parameters: ProductParameters(
        algorithm: .winograd, tileM: 64, tileN: 64, tileK: 16, itemM: 8, itemN: 8, lanes: 2)),
  ]

  /// Cases of every family: all kinds of prologue and epilogue, channels that are no multiple of a vector, strides.
  static let cases: [OperatorCase] = {
    typealias S = ConvolutionShape
    let same = S.same(3, 64, 9, 6, to: 68)
    let odd = S.same(1, 17, 5, 6, to: 19)
    let strided = S(2, 16, 9, 9, to: 24, 3, 3, stride: 2, padding: 1)
    let few = S(2, 3, 33, 31, to: 8, 7, 7, stride: 2, padding: 3)
    let dilated = S(2, 6, 11, 12, to: 10, 3, 3, stride: 3, padding: 2, dilation: 2)
    let fused = [
      "3x3 padding 1, affine relu bias residual", "3x3 padding 1, affine relu",
      "3x3 stride 2 padding 1, affine silu",
    ]
    return [same, odd, strided, few, dilated].flatMap {
      [
        ParityTable.convolution($0), ParityTable.inputGradient($0, accumulate: true),
        ParityTable.filterGradient($0),
      ]
    }
      + ParityTable.fusedConvolutions.filter { operatorCase in
        fused.contains { operatorCase.name.hasSuffix($0) }
      }
      + ParityTable.matrixProducts.filter {
        $0.name.hasPrefix("matrixProduct/17x18x19") || $0.name.hasPrefix("matrixProduct/16x43x64")
      }
  }()

  @Test(arguments: choices) func parity(_ choice: Choice) throws {
    #expect(Self.cases.count > 20)
    for device in OpenCLDevice.all.devices where device.description.unusable == nil {
      var tuning = try OpenCLTuning(device.limits, environment: ["PBE_GPU_KERNELS": "gpu"])
      var products: [ProductFamily: ProductParameters] = [:]
      for family in ProductFamily.allCases where choice.parameters.algorithm == .tiled || family.is3x3 {
        products[family] = choice.parameters
      }
      #expect(tuning.use(products).isEmpty, "the device can't have these sizes")
      let backend = try OpenCLBackend(identifier: device.description.identifier, tuning: tuning)
      // The smallest tiles of all other families are what the table runs on.
      for operatorCase in Self.cases
      where choice.parameters.algorithm == .tiled || operatorCase.name.contains("3x3 padding 1") {
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
    func kernels(_ shape: ConvolutionShape, filterGradient: Bool = false) throws -> [String] {
      var program = Program()
      let x = program.temporary(shape.input)
      let y = program.temporary(shape.output)
      let w = program.temporary(shape.filter, role: .filter)
      program.append(
        filterGradient
          ? .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: x, outputGradient: y, filterGradient: w, geometry: shape.geometry))
          : .convolution(Convolution(input: x, filter: w, output: y, geometry: shape.geometry)))
      return try LaunchBuilder(program, tuning: tuning).plans.map(\.kernel)
    }
    let group = ["winograd_input", "tiled_product", "winograd_output"]
    // 147 KiB of transformed numbers per image: one group of 128, three of 1024.
    #expect(try kernels(.same(128, 512, 4, 4, to: 512)) == ["winograd_filter"] + group)
    #expect(try kernels(.same(1024, 512, 4, 4, to: 512)) == ["winograd_filter"] + group + group + group)
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
