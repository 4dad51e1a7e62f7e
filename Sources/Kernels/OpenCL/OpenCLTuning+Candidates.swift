extension OpenCLTuning {
  /// Untuned parameters for a class of devices: what usually suits.
  static func defaults(_ limits: OpenCLLimits) -> [ProductFamily: ProductParameters] {
    var products: [ProductFamily: ProductParameters] = [:]
    for family in ProductFamily.allCases {
      products[family] =
        limits.isCPU
        ? ProductParameters(algorithm: .registers)
        : untuned(family, limits).first { $0.isValid(for: family, on: limits) }
          ?? ProductParameters(algorithm: .registers)
    }
    return products
  }

  /// From the preferred to what runs everywhere.
  private static func untuned(_ family: ProductFamily, _ limits: OpenCLLimits) -> [ProductParameters] {
    // Winograd's transforms pay where there are many channels to add up over.
    let algorithm: ProductParameters.Algorithm =
      family == .convolution3x3 || family == .filterGradient3x3 ? .winograd : .tiled
    // 128 registers are two work-groups of 256 on a multiprocessor of NVIDIA's.
    let large = ProductParameters(
      algorithm: algorithm, tileM: 128, tileN: 128, tileK: 16, itemM: 8, itemN: 8, buffers: 2, registers: 128)
    // What the tuner chose on an H200 (docs/performance.md).
    let square = ProductParameters(algorithm: algorithm, buffers: 2)
    let tall = ProductParameters(algorithm: algorithm, itemM: 8, buffers: 2)
    let medium = ProductParameters(algorithm: algorithm)
    let small = ProductParameters(algorithm: algorithm, tileM: 32, tileN: 32, tileK: 8)
    // What compiles fastest.
    let least = ProductParameters(
      algorithm: algorithm, tileM: 16, tileN: 16, tileK: 8, itemM: 2, itemN: 2, vector: 2, pad: 2)
    switch (limits.vendor, family) {
    case (.standIn, _): return [least]
    case (.nvidia, .matrixProduct), (.amd, .matrixProduct): return [medium, small]
    case (.nvidia, .convolution), (.nvidia, .filterGradient3x3): return [tall, medium, small]
    case (.nvidia, .filterGradient3x3Narrow):
      var winograd = square
      winograd.algorithm = .winograd
      return [winograd, medium, small]
    case (.nvidia, _): return [square, medium, small]
    case (.amd, .convolution3x3), (.amd, .filterGradient3x3), (.amd, .convolution):
      var amd = large
      (amd.tileK, amd.buffers) = (8, 1)
      return [amd, medium, small]
    default: return [medium, small]
    }
  }

  /// What a tuner tries, at most 24 per family, the most promising first: the default is the first.
  static func candidates(_ family: ProductFamily, on limits: OpenCLLimits) -> [ProductParameters] {
    var list = defaults(limits)[family].map { [$0] } ?? []
    // (tile, work-item): from large tiles, which reuse most, to small ones, which fill a device with little work.
    let shapes = [
      (128, 128, 8, 8), (128, 64, 8, 8), (128, 64, 8, 4), (64, 64, 8, 4), (64, 64, 4, 4), (64, 128, 8, 8),
      (128, 32, 8, 4), (256, 64, 8, 8), (32, 64, 4, 4), (32, 32, 4, 4),
    ]
    func tiles(
      _ algorithm: ProductParameters.Algorithm, _ count: Int, depths: [(Int, Int)]
    ) -> [ProductParameters] {
      depths.flatMap { tileK, buffers in
        shapes.prefix(count).map {
          ProductParameters(
            algorithm: algorithm, tileM: $0.0, tileN: $0.1, tileK: tileK, itemM: $0.2, itemN: $0.3,
            buffers: buffers, registers: $0.2 * $0.3 == 64 && tileK == 16 ? 128 : 0)
        }
      }
    }
    switch family {
    case .convolution3x3, .filterGradient3x3:
      list += tiles(.winograd, 5, depths: [(16, 2), (8, 2)])
      // A smaller scratch stays in the cache; wider transforms need fewer instructions.
      for (lanes, scratch) in [(2, 64), (1, 24), (2, 24), (1, 256), (4, 64)] {
        guard var variation = list.first else { break }
        (variation.algorithm, variation.lanes, variation.scratch) = (.winograd, lanes, scratch)
        list.append(variation)
      }
      list += tiles(.tiled, 4, depths: [(16, 2)])
    case .convolution3x3Narrow, .filterGradient3x3Narrow:
      list += tiles(.tiled, 8, depths: [(16, 2)]) + tiles(.winograd, 5, depths: [(16, 2)])
      list += tiles(.tiled, 5, depths: [(8, 2)])
    default:
      list += tiles(.tiled, 10, depths: [(16, 2), (8, 2)])
    }
    list.append(ProductParameters(algorithm: .registers))
    var seen: Set<ProductParameters> = []
    let valid = list.filter { $0.isValid(for: family, on: limits) && seen.insert($0).inserted }
    return Array(valid.prefix(23)) + (valid.count > 23 ? [ProductParameters(algorithm: .registers)] : [])
  }
}
