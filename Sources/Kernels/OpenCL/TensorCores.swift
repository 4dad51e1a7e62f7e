/// How products are computed on matrix units: mma.cl's instructions, or their emulation.
struct TensorCores: Hashable, Sendable {
  /// `tf32` or `bf16`.
  var precision: Precision
  /// The instructions are replaced by OpenCL C with the same fragments: for checks where there are none.
  var isEmulated = false

  /// What `precision` needs; `nil` for fp32. `PBE_GPU_TENSOR_CORES=emulated` emulates.
  init?(_ precision: Precision, environment: [String: String]) {
    guard precision != .fp32 else { return nil }
    self.precision = precision
    isEmulated = environment["PBE_GPU_TENSOR_CORES"] == "emulated"
  }

  /// Tensor cores of a precision; `nil` for fp32.
  init?(_ precision: Precision, isEmulated: Bool) {
    guard precision != .fp32 else { return nil }
    self.precision = precision
    self.isEmulated = isEmulated
  }

  /// The macros that every variant of mma.cl is compiled with.
  var buildOptions: String {
    "-DCOMMON=mma -DBF16=\(precision == .bf16 ? 1 : 0)" + (isEmulated ? " -DMMA_EMULATED" : "")
  }

  /// Terms of the sums in a 32-bit word.
  var termsPerWord: Int { precision == .bf16 ? 2 : 1 }
}

extension OpenCLTuning {
  /// What a tuner tries for a family on matrix units, the most promising first. Large tiles spare loads and
  /// conversions; small ones fill a device with little work.
  static func tensorCoreCandidates(_ family: ProductFamily, on limits: OpenCLLimits) -> [ProductParameters] {
    // (tile, part of a warp)
    var shapes = [
      (128, 128, 64, 32), (128, 64, 32, 32), (64, 64, 32, 32), (64, 128, 32, 64), (128, 64, 64, 32),
      (128, 32, 32, 32), (32, 32, 16, 16),
    ]
    switch family {
    case .convolution3x3, .filterGradient3x3: break
    // A tile shouldn't be wider than few channels.
    case .convolution3x3Narrow, .filterGradient3x3Narrow:
      shapes = [shapes[5], shapes[1], shapes[2], shapes[6]]
    default: shapes = [shapes[2]] + shapes.filter { $0 != shapes[2] }
    }
    return [16, 32, 8].flatMap { tileK in
      shapes.map { shape in
        ProductParameters(
          algorithm: .tensorCore, tileM: shape.0, tileN: shape.1, tileK: tileK, buffers: 2, warpM: shape.2,
          warpN: shape.3)
      }
    }.filter { $0.isValid(for: family, on: limits) }
  }
}

extension ProductParameters {
  /// Work-items of a work-group of mma.cl's kernels.
  var tensorCoreGroup: Int { 32 * (tileM / warpM) * (tileN / warpN) }

  /// Bytes of local memory of mma.cl's kernels, of whichever order of the tiles is larger.
  var tensorCoreLocalByteCount: Int {
    func largest(_ extent: Int) -> Int { max(extent * (tileK + 4), tileK * (extent + 8)) }
    return 4 * buffers * (largest(tileM) + largest(tileN))
  }

  /// Bytes of local memory that their emulation takes besides: each warp exchanges fragments of up to 8 words of bf16.
  var emulationByteCount: Int { 4 * (tensorCoreGroup / 32 * 24 * 8 * 2) }

  /// Whether mma.cl can be compiled with these sizes for a device.
  func suitsTensorCores(on limits: OpenCLLimits) -> Bool {
    warpM <= tileM && warpN <= tileN && tileK >= 8 && tensorCoreGroup <= limits.largestGroup
      && tensorCoreLocalByteCount <= limits.localMemory
  }

  /// These, with tiles no wider than a result of `columns` needs: narrower parts first, then fewer warps.
  func fittedToTensorCores(columns: Int) -> ProductParameters {
    var fitted = self
    while fitted.tileN >= 32, fitted.tileN / 2 >= columns {
      fitted.tileN /= 2
      fitted.warpN = min(fitted.warpN, fitted.tileN)
    }
    return fitted
  }

  /// The macros of mma.cl's kernels.
  var tensorCoreOptions: String {
    "-DTILE_M=\(tileM) -DTILE_N=\(tileN) -DTILE_K=\(tileK) -DWARP_M=\(warpM) -DWARP_N=\(warpN)"
      + " -DBUFFERS=\(buffers) -DLDMATRIX=\(matrixLoads)"
  }
}
