import Foundation

/// The sizes of work that suit a class of devices.
///
/// A CPU's work-item is a loop over vectors: it takes 16 channels at once, and work-groups of one keep PoCL from
/// building loops around it. A GPU's work-item is a lane: it takes four channels, its neighbours the next ones.
struct OpenCLTuning: Sendable {
  /// The device is a CPU.
  let isCPU: Bool

  /// The tuning for a device; `PBE_GPU_KERNELS`, which is `cpu` or `gpu`, overrides it, so that a machine without a GPU
  /// can check the kernels for one.
  init(isCPU: Bool, environment: [String: String] = ProcessInfo.processInfo.environment) {
    switch environment["PBE_GPU_KERNELS"] {
    case "cpu": self.isCPU = true
    case "gpu": self.isCPU = false
    default: self.isCPU = isCPU
    }
  }

  /// Output pixels per work-item of a convolution.
  var pixels: Int { 8 }
  /// Lanes of the sums per channel in the general program.
  var generalWidth: Int { isCPU ? 16 : 1 }
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
  var words: String {
    "implicit matrix-product convolution in registers, \(pixels) pixels x \(isCPU ? 16 : 4) channels per work-item"
  }
}
