/// How one family of products is computed: the algorithm, and the sizes that its kernels are compiled for.
///
/// In JSON, in `PBE_GPU_KERNELS` and in the kernels the sizes have the names of the macros.
struct ProductParameters: Codable, Hashable, Sendable {
  /// A way to compute a product.
  enum Algorithm: String, Codable, CaseIterable, Sendable {
    /// kernels.cl: every work-item for itself, in registers; what suits CPUs.
    case registers
    /// tiled.cl: work-groups share tiles in local memory.
    case tiled
    /// winograd.cl: F(4x4, 3x3), with the tiled kernels for its products.
    case winograd
    /// Matrix units; fp32 accumulators, but inputs are rounded.
    case tensorCore
  }

  /// The algorithm.
  var algorithm: Algorithm
  /// Rows of a work-group's part of the result: pixels, or rows of a filter's gradient.
  var tileM = 64
  /// Columns of a work-group's part of the result: output channels.
  var tileN = 64
  /// Terms of the sums that are in local memory at a time.
  var tileK = 16
  /// Rows per work-item.
  var itemM = 4
  /// Columns per work-item.
  var itemN = 4
  /// Lanes of vectors, in memory and in registers.
  var vector = 4
  /// Floats between the rows of the left tile in local memory, against bank conflicts.
  var pad = 4
  /// Tiles in local memory: 2 loads one while the other is used.
  var buffers = 1
  /// Work-groups per compute unit below which sums are split into parts; 0 never splits.
  var fill = 2
  /// `winograd`: channels per work-item of the transforms.
  var lanes = 1
  /// `winograd`: MiB of transformed images at a time.
  var scratch = 64
  /// `tensorCore`: rows of a warp's part of a work-group's tile.
  var warpM = 32
  /// `tensorCore`: columns of it.
  var warpN = 32
  /// `tensorCore`: 1 reads local memory with the instruction `ldmatrix` where it can.
  var matrixLoads = 1

  private enum CodingKeys: String, CodingKey {
    case algorithm
    case tileM = "TILE_M"
    case tileN = "TILE_N"
    case tileK = "TILE_K"
    case itemM = "ITEM_M"
    case itemN = "ITEM_N"
    case vector = "VW"
    case pad = "PAD"
    case buffers = "BUFFERS"
    case fill = "FILL"
    case lanes = "LANES"
    case scratch = "SCRATCH"
    case warpM = "WARP_M"
    case warpN = "WARP_N"
    case matrixLoads = "LDMATRIX"
  }

  /// A size by its name in the kernels.
  struct Tunable: Sendable {
    /// The macro.
    let name: String
    /// Its place here.
    let path: WritableKeyPath<ProductParameters, Int> & Sendable
    /// The values that make sense.
    let range: ClosedRange<Int>
    /// A power of two, or zero.
    var isPower = true
  }

  /// Every size.
  static let tunables: [Tunable] = [
    Tunable(name: "TILE_M", path: \.tileM, range: 4...512),
    Tunable(name: "TILE_N", path: \.tileN, range: 4...512),
    Tunable(name: "TILE_K", path: \.tileK, range: 4...64),
    Tunable(name: "ITEM_M", path: \.itemM, range: 1...16),
    Tunable(name: "ITEM_N", path: \.itemN, range: 2...16),
    Tunable(name: "VW", path: \.vector, range: 2...4),
    Tunable(name: "PAD", path: \.pad, range: 0...8),
    Tunable(name: "BUFFERS", path: \.buffers, range: 1...2),
    Tunable(name: "FILL", path: \.fill, range: 0...64, isPower: false),
    Tunable(name: "LANES", path: \.lanes, range: 1...4),
    Tunable(name: "SCRATCH", path: \.scratch, range: 1...4096, isPower: false),
    Tunable(name: "WARP_M", path: \.warpM, range: 16...64),
    Tunable(name: "WARP_N", path: \.warpN, range: 16...64),
    Tunable(name: "LDMATRIX", path: \.matrixLoads, range: 0...1),
  ]

  /// Work-items of a work-group of the tiled kernels.
  var groupSize: Int { tileM / itemM * (tileN / itemN) }

  /// Bytes of local memory of the tiled kernels: the larger of both orders of the left tile.
  var localByteCount: Int {
    4 * buffers * (max(tileM * (tileK + pad), tileK * (tileM + pad)) + tileK * tileN)
  }

  /// Whether the kernels can be compiled for a device and used for a family. Also right for hostile numbers.
  func isValid(for family: ProductFamily, on limits: OpenCLLimits) -> Bool {
    for tunable in Self.tunables {
      let value = self[keyPath: tunable.path]
      guard tunable.range.contains(value), !tunable.isPower || value & (value - 1) == 0 else { return false }
    }
    switch algorithm {
    case .registers: return true
    // Where there are none (`OpenCLTuning.tensorCores`), the builder takes another algorithm.
    case .tensorCore: return suitsTensorCores(on: limits)
    case .winograd where !family.is3x3: return false
    case .tiled, .winograd:
      return tileM >= itemM && tileN >= itemN && itemN >= vector && tileK >= vector && pad % vector == 0
        && itemM * itemN <= 128 && groupSize <= limits.largestGroup && groupSize >= max(16, tileK)
        && localByteCount <= limits.localMemory
        // A filter gradient's rows are vectors, too.
        && itemM >= vector
    }
  }

  /// The macros of the tiled kernels.
  var buildOptions: String {
    ["TILE_M", "TILE_N", "TILE_K", "ITEM_M", "ITEM_N", "VW", "PAD", "BUFFERS"].compactMap { name in
      Self.tunables.first { $0.name == name }.map { "-D\(name)=\(self[keyPath: $0.path])" }
    }.joined(separator: " ")
  }

  /// These, with tiles no wider than a result of `columns` needs.
  func fitted(columns: Int) -> ProductParameters {
    var fitted = self
    while fitted.tileN / 2 >= max(columns, vector) {
      fitted.tileN /= 2
      // Work-items of a smaller tile first get fewer, then smaller.
      if fitted.groupSize < 64 || fitted.tileN < fitted.itemN || fitted.groupSize < fitted.tileK {
        if fitted.itemN > vector { fitted.itemN /= 2 } else if fitted.itemM > vector { fitted.itemM /= 2 }
      }
    }
    return fitted
  }

  /// In words: `tiled 128x64x16, 8x8 per work-item`.
  var words: String {
    switch algorithm {
    case .registers: "registers"
    case .tensorCore: "tensor cores \(tileM)x\(tileN)x\(tileK), \(warpM)x\(warpN) per warp"
    case .tiled, .winograd:
      "\(algorithm.rawValue) \(tileM)x\(tileN)x\(tileK), \(itemM)x\(itemN) per work-item"
    }
  }
}
