/// The devices of this machine.
public enum Devices {
  /// Every device, usable or not: the CPU first, then OpenCL's in the loader's order.
  public static func all() -> [DeviceDescription] {
    [CPUBackend.description] + OpenCLBackend.devices()
  }

  /// Opens the device that `--device` names: `cpu`, `opencl` (the first usable one), `opencl:1`, part of a device's
  /// name (case doesn't matter), or `auto`: the first usable GPU, else the CPU. Throws `device` when there is none such or it can't be used.
  public static func open(_ name: String) throws -> any Backend {
    let wanted = name.lowercased()
    if wanted == "cpu" { return try CPUBackend() }
    let devices = OpenCLBackend.devices()
    if wanted == "auto" {
      guard let gpu = devices.first(where: { $0.isAccelerator && $0.unusable == nil }) else {
        return try CPUBackend()
      }
      return try OpenCLBackend(identifier: gpu.identifier)
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
    return try OpenCLBackend(identifier: found.identifier)
  }
}
