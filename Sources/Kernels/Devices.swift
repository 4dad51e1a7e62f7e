import Foundation

/// The devices of this machine.
public enum Devices {
  /// Every device, usable or not: the CPU first, then OpenCL's in the loader's order.
  public static func all() -> [DeviceDescription] {
    [CPUBackend.description] + OpenCLBackend.devices()
  }

  /// Opens the device that `--device` names: `cpu`, `opencl` (the first usable one), `opencl:1`, part of a device's
  /// name (case doesn't matter), or `auto`: the first usable GPU, else the CPU. Throws `device` when there is none such
  /// or it can't be used.
  ///
  /// A GPU is tuned the first time that it is opened, which takes half a minute: `notice` says so, and tells what goes
  /// wrong with it; `progress` gets what is being tried and the share that is done, and may throw to stop.
  public static func open(
    _ name: String, notice: (String) -> Void = printNotice,
    progress: (String, Double) throws -> Void = { _, _ in }
  ) throws -> any Backend {
    guard let device = try openCLDevice(name) else { return try CPUBackend() }
    return try withoutActuallyEscaping(notice) { notice in
      let tuning = try AutomaticTuning(notice: notice).tuning(for: device, progress: progress)
      return try OpenCLBackend(device, tuning: tuning)
    }
  }

  /// A line on standard error.
  public static func printNotice(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data("\(line)\n".utf8))
  }

  /// The OpenCL device that `name` means; `nil` for the CPU.
  static func openCLDevice(_ name: String) throws -> OpenCLDevice? {
    let wanted = name.lowercased()
    if wanted == "cpu" { return nil }
    let devices = OpenCLBackend.devices()
    if wanted == "auto" {
      return try devices.first { $0.isAccelerator && $0.unusable == nil }.map { try .named($0.identifier) }
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
    return try .named(found.identifier)
  }
}
