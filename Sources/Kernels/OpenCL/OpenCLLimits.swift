/// What a device limits, and what guides the first choice of kernels for it.
struct OpenCLLimits: Hashable, Sendable {
  /// Who made a device, as far as it matters.
  enum Vendor: String, Sendable {
    case nvidia, amd, intel, other

    /// Reads `CL_DEVICE_VENDOR`.
    init(_ name: String) {
      let name = name.lowercased()
      self =
        name.contains("nvidia")
        ? .nvidia
        : name.contains("advanced micro") || name.contains("amd") ? .amd : name.contains("intel") ? .intel : .other
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
