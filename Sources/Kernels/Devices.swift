/// The devices of this machine.
public enum Devices {
  /// Every device, usable or not: the CPU first, then OpenCL's in the loader's order.
  public static func all() -> [DeviceDescription] {
    [CPUBackend.description] + OpenCLBackend.devices()
  }

  /// Opens the device that `--device` names: `cpu`, `opencl` (the first usable one), `opencl:1`, part of a device's
  /// name (case doesn't matter), or `auto`: the first usable GPU, else the CPU. Throws `device` when there is none such or it can't be used.
  ///
  /// `precision` is what products round their inputs to, by default what `PBE_GPU_PRECISION` asks for. Also throws
  /// `device` where the device has none such, and `usage` for a wrong variable.
  public static func open(_ name: String, precision: Precision? = nil) throws -> any Backend {
    let precision = try precision ?? Precision.requested()
    let wanted = name.lowercased()
    if wanted == "cpu" { return try openCPU(precision) }
    let devices = OpenCLBackend.devices()
    if wanted == "auto" {
      guard let gpu = devices.first(where: { $0.isAccelerator && $0.unusable == nil }) else {
        return try openCPU(precision)
      }
      return try OpenCLBackend(identifier: gpu.identifier, precision: precision)
    }
    let found: DeviceDescription?
    if wanted == "opencl" {
      found = devices.first { $0.unusable == nil } ?? devices.first
    } else if wanted.hasPrefix("opencl:") {
      found = devices.first { $0.identifier == wanted }
    } else {
      found = devices.first { $0.name.lowercased().contains(wanted) }
    }
    guard let found else {
      let known = (["cpu"] + devices.map { "\($0.identifier) (\($0.name))" }).joined(separator: ", ")
      throw PBEError(
        .device, "there is no such device", at: "--device \(name)",
        remedy: devices.isEmpty
          ? "this machine has only: cpu (\(OpenCLBackend.missing ?? "no OpenCL device found"))"
          : "this machine has: \(known)")
    }
    if let reason = found.unusable {
      throw PBEError(
        .device, "the device can't be used: \(reason)", at: found.identifier, remedy: "run `pbe-gpu devices`")
    }
    return try OpenCLBackend(identifier: found.identifier, precision: precision)
  }

  /// What a device's products can round their inputs to, and why not.
  public static func precisions(of device: DeviceDescription) -> [PrecisionSupport] {
    guard device.identifier != "cpu" else {
      return Precision.allCases.map {
        PrecisionSupport(precision: $0, problem: $0 == .fp32 ? nil : CPUBackend.precisionProblem)
      }
    }
    do {
      let backend = try OpenCLBackend(identifier: device.identifier)
      return Precision.allCases.map(backend.support)
    } catch {
      let problem = device.unusable ?? (error as? PBEError)?.what ?? "\(error)"
      return Precision.allCases.map { PrecisionSupport(precision: $0, problem: problem) }
    }
  }

  private static func openCPU(_ precision: Precision) throws -> CPUBackend {
    guard precision == .fp32 else {
      throw PBEError(
        .device, "products in \(precision.rawValue) are not available: \(CPUBackend.precisionProblem)",
        at: "cpu",
        remedy: "use --precision fp32, or a device that `pbe-gpu devices` lists it for")
    }
    return try CPUBackend()
  }
}
