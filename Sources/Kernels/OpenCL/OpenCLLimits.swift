/// What a device limits, and what guides the first choice of kernels for it.
struct OpenCLLimits: Hashable, Sendable {
  /// Who made a device, as far as it matters.
  enum Vendor: String, Sendable {
    case nvidia, amd, intel, other
    /// A CPU in a GPU's role, to check its kernels.
    case standIn

    /// Reads `CL_DEVICE_VENDOR`.
    init(_ name: String) {
      let name = name.lowercased()
      let known: [(String, Vendor)] = [
        ("nvidia", .nvidia), ("advanced micro", .amd), ("amd", .amd), ("intel", .intel),
      ]
      self = known.first { name.contains($0.0) }?.1 ?? .other
    }
  }

  /// The device is a CPU.
  var isCPU: Bool
  /// Its maker.
  var vendor: Vendor
  /// Multiprocessors, compute units, cores.
  var computeUnits: Int
  /// Work-items of the largest work-group.
  var largestGroup: Int
  /// Bytes of local memory of a work-group.
  var localMemory: Int
  /// Bytes of the largest buffer.
  var largestAllocation: Int
}
