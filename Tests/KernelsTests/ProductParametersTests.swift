import Foundation
import Testing

@testable import Kernels

/// The data model of tuned products.
struct ProductParametersTests {
  private static let devices: [OpenCLLimits] = [
    (OpenCLLimits.Vendor.nvidia, 132, 1024, 48 << 10), (.nvidia, 20, 1024, 48 << 10),
    (.amd, 60, 256, 64 << 10),
    (.intel, 32, 256, 64 << 10), (.other, 8, 64, 16 << 10), (.other, 1, 16, 1 << 10),
    (.standIn, 2, 4096, 1 << 20),
  ].map { vendor, units, group, local in
    OpenCLLimits(
      isCPU: false, vendor: vendor, computeUnits: units, largestGroup: group, localMemory: local,
      largestAllocation: 1 << 30)
  }

  @Test func defaultsAndCandidatesSuitEveryDevice() throws {
    for limits in Self.devices {
      for family in ProductFamily.allCases {
        let candidates = OpenCLTuning.candidates(family, on: limits)
        #expect((1...24).contains(candidates.count))
        #expect(Set(candidates).count == candidates.count)
        #expect(candidates.contains(ProductParameters(algorithm: .registers)))
        #expect(candidates.first == OpenCLTuning.defaults(limits)[family])
        for candidate in candidates {
          #expect(candidate.isValid(for: family, on: limits))
          // Narrower results get narrower tiles, which must be as valid.
          for columns in [1, 2, 3, 5, 10, 16, 31, 64, 100, 512] {
            let fitted = candidate.fitted(columns: columns)
            #expect(fitted.isValid(for: family, on: limits), "\(candidate), \(columns) columns: \(fitted)")
          }
        }
      }
    }
    let nvidia = try #require(Self.devices.first)
    #expect(OpenCLTuning.defaults(nvidia)[.convolution3x3]?.algorithm == .winograd)
    #expect(OpenCLTuning.defaults(nvidia)[.convolution]?.algorithm == .tiled)
    var cpu = nvidia
    cpu.isCPU = true
    #expect(OpenCLTuning.defaults(cpu).values.allSatisfy { $0.algorithm == .registers })
  }

  @Test func hostileNumbersAreInvalid() throws {
    let limits = try #require(Self.devices.first)
    for tunable in ProductParameters.tunables {
      for value in [-1, Int.min, Int.max, 3, 1 << 40] where tunable.isPower || !tunable.range.contains(value)
      {
        var parameters = ProductParameters(algorithm: .tiled)
        parameters[keyPath: tunable.path] = value
        #expect(!parameters.isValid(for: .convolution, on: limits), "\(tunable.name) = \(value)")
      }
    }
    #expect(!ProductParameters(algorithm: .winograd).isValid(for: .convolution, on: limits))
    var tuning = try OpenCLTuning(limits, environment: [:])
    let before = tuning.products
    #expect(tuning.use([.convolution: ProductParameters(algorithm: .tiled, tileM: 7)]) == [.convolution])
    #expect(tuning.products == before)
  }

  @Test func jsonHasTheMacrosNames() throws {
    let products: [ProductFamily: ProductParameters] = [
      .convolution3x3: ProductParameters(algorithm: .winograd, scratch: 24)
    ]
    let data = try JSONEncoder().encode(products)
    let text = String(decoding: data, as: UTF8.self)
    #expect(text.contains("\"convolution3x3\":{") && text.contains("\"TILE_M\":64"))
    #expect(try JSONDecoder().decode([ProductFamily: ProductParameters].self, from: data) == products)
  }

  @Test func theEnvironmentForcesKernels() throws {
    let limits = try #require(Self.devices.last)
    let forced = try OpenCLTuning(limits, environment: ["PBE_GPU_KERNELS": "winograd,TILE_M=32,FILL=9"])
    #expect(forced.parameters(.filterGradient3x3Narrow).algorithm == .winograd)
    #expect(forced.parameters(.matrixProduct).algorithm == .tiled)
    #expect(forced.products.values.allSatisfy { $0.tileM == 32 && $0.fill == 9 })
    for wrong in [
      "fast", "tiled,TILE_M", "tiled,TILE_M=33", "tiled,TILE_Q=8", "tiled,TILE_M=99999999999999999999",
    ] {
      #expect(throws: PBEError.self) { try OpenCLTuning(limits, environment: ["PBE_GPU_KERNELS": wrong]) }
    }
  }

  /// As tiled.cl divides.
  @Test func reciprocalsDivide() {
    for divisor in [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 224, 1000, 65535, 65536, 65537, 1 << 30, 2_147_483_647] {
      let by = OpenCLLaunch.reciprocal(of: divisor)
      let numerators = [0, 1, divisor - 1, divisor, divisor + 1, 7 * divisor - 1, 7 * divisor, 2_147_483_647]
      for n in numerators where (0...2_147_483_647).contains(n) {
        let quotient = by.x == 0 ? n : Int((UInt64(n) * UInt64(by.x)) >> (32 + UInt64(by.y)))
        #expect(quotient == n / divisor, "\(n) / \(divisor)")
      }
    }
  }
}
