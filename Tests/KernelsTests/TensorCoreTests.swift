import Foundation
import Testing

@testable import Kernels
@testable import Parity

/// mma.cl with emulated instructions, on the first OpenCL device: every index but the hardware's own.
@Suite(.serialized) struct TensorCoreTests {
  /// Tiles and parts of warps: one warp and several, one buffer and two, with and without `ldmatrix`, work-items that
  /// share a tile unevenly, sums in parts.
  static let sizes = [
    "TILE_M=32,TILE_N=32,TILE_K=16,WARP_M=16,WARP_N=16,BUFFERS=2,LDMATRIX=1",
    "TILE_M=32,TILE_N=16,TILE_K=8,WARP_M=32,WARP_N=16,BUFFERS=1,LDMATRIX=0,FILL=0",
    "TILE_M=128,TILE_N=16,TILE_K=8,WARP_M=16,WARP_N=16,BUFFERS=2,LDMATRIX=0,FILL=64",
    "TILE_M=64,TILE_N=64,TILE_K=32,WARP_M=64,WARP_N=32,BUFFERS=1,LDMATRIX=1,FILL=8",
  ]

  /// What mma.cl can: channels in fours. All tiles are ragged somewhere.
  static let shapes: [ConvolutionShape] = [
    .same(2, 16, 7, 7, to: 16), .same(1, 20, 5, 6, to: 36), .same(3, 64, 4, 4, to: 32),
    ConvolutionShape(2, 8, 9, 8, to: 16, 3, 3, stride: 2, padding: 1),
    ConvolutionShape(2, 16, 7, 7, to: 24, 1, 1, stride: 2),
    ConvolutionShape(1, 16, 11, 12, to: 8, 3, 3, padding: 3, dilation: 3),
    ConvolutionShape(2, 4, 10, 9, to: 8, 2, 2, stride: 3),
    ConvolutionShape(1, 12, 13, 7, to: 4, 5, 3, stride: 2, padding: 2, dilation: 2),
  ]

  private static func backend(_ precision: Precision, _ sizes: String? = nil) throws -> OpenCLBackend {
    let device = try #require(OpenCLDevice.all.devices.first { $0.description.unusable == nil })
    let tuning = try sizes.map {
      try OpenCLTuning(device.limits, environment: ["PBE_GPU_KERNELS": "tensorCore,\($0)"])
    }
    return try OpenCLBackend(
      device, tuning: tuning, tensorCores: TensorCores(precision, isEmulated: true))
  }

  /// All operators of every second shape: each pair of sizes covers all shapes.
  private static func products(_ sizes: String) -> [OperatorCase] {
    let parity = (self.sizes.firstIndex(of: sizes) ?? 0) % 2
    let chosen = shapes.enumerated().filter { $0.offset % 2 == parity }.map(\.element)
    return chosen.flatMap {
      [
        ParityTable.convolution($0), ParityTable.inputGradient($0), ParityTable.filterGradient($0),
        ParityTable.inputGradient($0, accumulate: true),
      ]
    } + ParityTable.matrixProducts.filter { $0.name.contains("/64x64x64") }
  }

  /// Inputs that need no rounding: the bound is fp32's. Others: the bound is that of the rounding, and there is some.
  @Test(arguments: [Precision.tf32, .bf16], sizes) func products(_ precision: Precision, _ sizes: String)
    throws
  {
    let backend = try Self.backend(precision, sizes)
    for product in Self.products(sizes) {
      let exact = ParityRunner.run(product.exact(in: precision), on: backend)
      #expect(exact.failure == nil && exact.error <= OperatorCase.sumBound, "\(exact.description)")
      let rounded = ParityRunner.run(product, on: backend)
      #expect(rounded.passed, "\(rounded.description)")
      #expect(rounded.error > 1e-9, "\(rounded.description): nothing was rounded, so mma.cl was not used")
    }
  }

  /// Prologue, bias, residual, accumulation.
  @Test(arguments: [Precision.tf32, .bf16]) func fused(_ precision: Precision) throws {
    let backend = try Self.backend(precision, Self.sizes[0])
    let cases = ParityTable.fusedConvolutions.filter { fused in
      ["/2x16x7x9 ", "/2x16x9x9 ", "/3x20x5x5 "].contains(where: fused.name.contains)
        && ["affine relu", "bias", "residual", "relu", "accumulate"].contains(where: fused.name.hasSuffix)
    }
    #expect(cases.count > 12)
    for fused in cases {
      let result = ParityRunner.run(fused, on: backend)
      #expect(result.passed, "\(result.description)")
    }
  }

  /// The sizes that are used without tuning compile and compute.
  @Test(arguments: [Precision.tf32, .bf16]) func defaultSizes(_ precision: Precision) throws {
    let backend = try Self.backend(precision)
    #expect(backend.device.precision == precision)
    let channels = precision == .tf32 ? 64 : 16
    let shape = ConvolutionShape.same(1, channels, 4, 4, to: channels)
    for product in [ParityTable.convolution(shape), ParityTable.filterGradient(shape)] {
      let result = ParityRunner.run(product.exact(in: precision), on: backend)
      #expect(result.failure == nil && result.error <= OperatorCase.sumBound, "\(result.description)")
    }
  }

  // MARK: - The probe

  @Test func emulationPassesTheProbe() throws {
    let backend = try Self.backend(.fp32)
    for cores in [Precision.tf32, .bf16].compactMap({ TensorCores($0, isEmulated: true) }) {
      #expect(backend.probe.problem(cores, backend.tuning.limits) == nil)
    }
  }

  /// Where there is no NVIDIA compiler the instructions are refused, with a reason, each time; and so is the device.
  @Test func refusal() throws {
    let backend = try Self.backend(.fp32)
    guard backend.tuning.limits.vendor != .nvidia else { return }
    for precision in [Precision.tf32, .bf16] {
      let cores = try #require(TensorCores(precision, isEmulated: false))
      for _ in 0..<2 {
        let refusal = try #require(backend.probe.refusal(cores))
        #expect(refusal.contains("can't compile"))
      }
      #expect(throws: PBEError.self) {
        try OpenCLBackend(.named(backend.device.identifier), tuning: nil, tensorCores: cores)
      }
    }
    #expect(throws: PBEError.self) { try Devices.open("cpu", precision: .tf32) }
  }

  // MARK: - Words and numbers

  @Test func rounding() {
    #expect(Precision.tf32.rounded(1 + 0x1p-11) == 1 + 0x1p-10)
    #expect(Precision.tf32.rounded(-1 - 0x1.8p-12) == -1)
    #expect(Precision.bf16.rounded(1 + 0x1p-8) == 1)
    #expect(Precision.bf16.rounded(1 + 0x1.8p-7) == 1 + 0x1p-6)
    #expect(Precision.bf16.rounded(.infinity) == .infinity && Precision.tf32.rounded(.nan).isNaN)
    #expect(Precision.fp32.rounded(1 + 0x1p-23) == 1 + 0x1p-23)
    for precision in Precision.allCases {
      for x: Float in [0.1, -3.3, 1e-30, 7e30] where precision != .fp32 {
        #expect(Double(abs(precision.rounded(x) - x)) <= precision.roundoff * Double(abs(x)))
      }
    }
  }

  @Test func environment() throws {
    #expect(try Precision.requested(environment: [:]) == .fp32)
    #expect(try Precision.requested(environment: ["PBE_GPU_PRECISION": "bf16"]) == .bf16)
    #expect(throws: PBEError.self) { try Precision.requested(environment: ["PBE_GPU_PRECISION": "half"]) }
  }

  /// Hostile or senseless sizes are refused before anything is compiled.
  @Test func validSizes() throws {
    let limits = OpenCLLimits(
      isCPU: false, vendor: .nvidia, computeUnits: 132, largestGroup: 1024, localMemory: 48 << 10,
      largestAllocation: 1 << 30)
    for family in ProductFamily.allCases {
      let candidates = OpenCLTuning.tensorCoreCandidates(family, on: limits)
      #expect(candidates.count >= 4)
      #expect(candidates.allSatisfy { $0.isValid(for: family, on: limits) })
    }
    var parameters = ProductParameters(algorithm: .tensorCore)
    #expect(parameters.isValid(for: .convolution, on: limits))
    for (path, value) in [
      (\ProductParameters.warpM, 128), (\.warpN, 8), (\.tileK, 4), (\.matrixLoads, 2), (\.warpM, 0),
      (\.tileM, 16), (\.tileK, .max), (\.tileM, .min),
    ] {
      var wrong = parameters
      wrong[keyPath: path] = value
      #expect(!wrong.isValid(for: .convolution, on: limits))
    }
    // More local memory than there is.
    (parameters.tileM, parameters.tileN, parameters.tileK, parameters.buffers) = (256, 256, 64, 2)
    #expect(!parameters.isValid(for: .convolution, on: limits))
  }
}
