import Foundation

/// What an OpenCL device is given: the sizes of work, and the algorithm of every family of products.
///
/// A CPU's work-item is a loop over vectors: it takes 16 channels at once, and work-groups of one keep PoCL from
/// building loops around it. A GPU's work-item is a lane: it takes four channels, its neighbours the next ones.
struct OpenCLTuning: Sendable {
  /// The kernels are those for a CPU.
  let isCPU: Bool
  /// The device.
  var limits: OpenCLLimits
  /// The parameters of every family: what a tuner finds, and a file keeps.
  private(set) var products: [ProductFamily: ProductParameters]
  /// The matrix units to use; `nil`: products are computed in fp32.
  private(set) var tensorCores: TensorCores?
  /// Where the parameters are from, in words; `nil` for the untuned choice.
  var origin: String?
  /// Families of which a tuner found no kernel that computes right.
  var wrong: [ProductFamily] = []
  /// With ``tensorCores``: the parameters of the families that use them, for the shapes that they can.
  private(set) var tensorCoreProducts: [ProductFamily: ProductParameters] = [:]

  /// The untuned choice for a device. `PBE_GPU_KERNELS` overrides it, so that a machine without a GPU can check the
  /// kernels for one: `cpu` or `gpu`, or an algorithm for all products that it can do, with sizes if wanted, as in
  /// `tiled,TILE_M=32,ITEM_M=2`. Throws `usage` for other words.
  init(
    _ limits: OpenCLLimits, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    var limits = limits
    let words = environment["PBE_GPU_KERNELS"].flatMap { $0.isEmpty ? nil : $0 }?.split(separator: ",")
    if let first = words?.first {
      if limits.isCPU { limits.vendor = .standIn }
      limits.isCPU = first == "cpu"
    }
    self.limits = limits
    isCPU = limits.isCPU
    products = Self.defaults(limits)
    if let words { try force(words.map(String.init)) }
  }

  /// The parameters of a family.
  func parameters(_ family: ProductFamily) -> ProductParameters {
    products[family] ?? ProductParameters(algorithm: .registers)
  }

  /// Replaces the parameters of some families. Returns those whose parameters don't suit the device, which keep theirs.
  @discardableResult mutating func use(_ tuned: [ProductFamily: ProductParameters]) -> [ProductFamily] {
    var refused: [ProductFamily] = []
    for (family, parameters) in tuned {
      if parameters.isValid(for: family, on: limits) {
        products[family] = parameters
      } else {
        refused.append(family)
      }
    }
    return refused.sorted { $0.rawValue < $1.rawValue }
  }

  /// Computes products on matrix units, each family with the sizes chosen by hand, or else the first that suit the
  /// device.
  mutating func use(_ tensorCores: TensorCores) {
    self.tensorCores = tensorCores
    for family in ProductFamily.allCases {
      let byHand = parameters(family)
      tensorCoreProducts[family] =
        byHand.algorithm == .tensorCore
        ? byHand
        : Self.tensorCoreCandidates(family, on: limits).first {
          !tensorCores.isEmulated
            || $0.tensorCoreLocalByteCount + $0.emulationByteCount <= limits.localMemory
        }
    }
  }

  // MARK: - By hand

  private mutating func force(_ words: [String]) throws {
    func refuse(_ what: String) -> PBEError {
      PBEError(
        .usage, what, at: "PBE_GPU_KERNELS",
        remedy: "use cpu, gpu, registers, tiled, winograd or tensorCore, and sizes such as ,TILE_M=64")
    }
    guard let first = words.first else { return }
    var algorithm: ProductParameters.Algorithm?
    if first != "cpu", first != "gpu" {
      algorithm = ProductParameters.Algorithm(rawValue: first)
      if algorithm == nil { throw refuse("unknown: \(first)") }
    }
    for family in ProductFamily.allCases {
      var parameters = parameters(family)
      if let algorithm {
        // What Winograd can't do is tiled.
        parameters.algorithm = algorithm == .winograd && !family.is3x3 ? .tiled : algorithm
      }
      for word in words.dropFirst() {
        let parts = word.split(separator: "=").map(String.init)
        guard parts.count == 2, let value = Int(parts[1]),
          let tunable = ProductParameters.tunables.first(where: { $0.name == parts[0] })
        else { throw refuse("not a size: \(word)") }
        parameters[keyPath: tunable.path] = value
      }
      guard parameters.isValid(for: family, on: limits) else {
        throw refuse("these sizes don't suit the device or each other: \(parameters.words)")
      }
      products[family] = parameters
    }
  }

  // MARK: - Other sizes of work

  /// Output pixels per work-item of a convolution in registers.
  var pixels: Int { 8 }
  /// Lanes of the sums per channel in the general program.
  var generalWidth: Int { isCPU ? 16 : 1 }
  /// Work-items that merge one channel's sums. A CPU's are few, and it has no use for work-groups that wait.
  var mergeLanes: Int {
    isCPU ? 1 : [64, 32, 16, 8, 4, 2].first { 4 * $0 <= limits.largestGroup } ?? 1
  }
  /// The build options of the general program.
  var generalOptions: String {
    "-DVW=\(generalWidth)" + (mergeLanes > 1 ? " -DMERGE_LANES=\(mergeLanes)" : "")
  }
  /// Work-items that fill one compute unit.
  var itemsPerUnit: Int { isCPU ? 4 : 128 }

  /// The lanes for a vector of `channels` output channels: the fewest vectors, then the least padding.
  func width(_ channels: Int) -> Int {
    let widths = isCPU ? [1, 2, 4, 8, 16] : [1, 2, 4]
    return widths.min { (channels + $0 - 1) / $0 * 32 + $0 < (channels + $1 - 1) / $1 * 32 + $1 } ?? 1
  }

  /// The widest vector that divides `channels`.
  func divisor(_ channels: Int) -> Int {
    (isCPU ? [16, 8, 4, 2] : [4, 2]).first { channels % $0 == 0 } ?? 1
  }

  /// The choices in words.
  var words: String { algorithms + (origin.map { "; \($0)" } ?? "") }

  private var algorithms: String {
    let chosen = parameters(.convolution3x3)
    if let tensorCores {
      return "\(tensorCores.precision.rawValue) on \(tensorCores.isEmulated ? "emulated " : "")tensor cores, "
        + "convolution 3x3: \(tensorCoreProducts[.convolution3x3]?.words ?? "in fp32")"
    }
    return chosen.algorithm == .registers
      ? "implicit matrix-product convolution in registers, \(pixels) pixels x \(isCPU ? 16 : 4) channels per work-item"
      : "convolution 3x3: \(chosen.words); others: \(parameters(.convolution).words)"
  }
}
