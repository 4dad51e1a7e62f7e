import Foundation

/// The devices of this machine.
public enum Devices {
  /// Every device, usable or not: the CPU first, then OpenCL's in the loader's order.
  public static func all() -> [DeviceDescription] {
    [CPUBackend.description] + OpenCLBackend.devices()
  }

  /// Opens the device that `--device` names: `cpu`, `opencl` (the first usable one), `opencl:1`, part of a device's
  /// name (case doesn't matter), or `auto`: a usable GPU, the first or in a batch system the one of the process's local rank,
  /// else the CPU; `notice` says what it depended on. Throws `device` when there is none such or it can't be used.
  ///
  /// `precision` is what products round their inputs to, by default what `PBE_GPU_PRECISION` asks for. Also throws
  /// `device` where the device has none such, and `usage` for a wrong variable.
  ///
  /// A GPU is tuned the first time that it is opened, which takes half a minute: `notice` says so, and tells what goes
  /// wrong with it; `progress` gets what is being tried and the share that is done, and may throw to stop. A run that goes
  /// on gives the `choices` of its checkpoint, which go before what the device is tuned to; the CPU doesn't ask for them.
  public static func open(
    _ name: String, precision: Precision? = nil, choices: @autoclosure () -> KernelChoices? = nil,
    notice: (String) -> Void = printNotice,
    progress: (String, Double) throws -> Void = { _, _ in }
  ) throws -> any Backend {
    let precision = try precision ?? Precision.requested()
    guard let device = try openable(name, notice: notice) else { return try openCPU(precision) }
    let choices = choices()
    return try withoutActuallyEscaping(notice) { notice in
      let tuning =
        try choices?.tuning(for: device, notice: notice)
        ?? AutomaticTuning(notice: notice).tuning(for: device, progress: progress)
      return try OpenCLBackend(
        device, tuning: tuning,
        tensorCores: TensorCores(precision, environment: ProcessInfo.processInfo.environment))
    }
  }

  /// The OpenCL device that `name` means and can be opened; `nil` for the CPU. It is tried with a context that is gone before
  /// the device is tuned: where a process has a device to itself it may have no second one.
  static func openable(_ name: String, notice: (String) -> Void = { _ in }) throws -> OpenCLDevice? {
    try firstOpened(
      choose: { refused in try openCLDevice(name, refused: refused, notice: notice) },
      open: { device in
        _ = try OpenCLContext(device)
        return device
      }, identifier: \.description.identifier, notice: notice)
  }

  /// The first of what `choose` chooses that `open` opens. `choose` gets why others, by their identifiers, could not be
  /// opened, a `notice` for each; where it chooses one of these again, or throws, it has no other, and the error is thrown.
  /// Errors that are not the device's are thrown as well.
  static func firstOpened<Device, Opened>(
    choose: ([String: String]) throws -> Device?, open: (Device) throws -> Opened,
    identifier: (Device) -> String, notice: (String) -> Void
  ) throws -> Opened? {
    var refused: [String: String] = [:]
    var failure: PBEError?
    func next() throws -> Device? {
      do { return try choose(refused) } catch let error as PBEError where error.kind == .device {
        throw failure ?? error
      }
    }
    while let device = try next() {
      let name = identifier(device)
      if refused[name] != nil, let failure { throw failure }
      if let failure { notice("warning: passed over: \(failure)") }
      do { return try open(device) } catch let error as PBEError where error.kind == .device {
        refused[name] = error.what
        failure = error
      }
    }
    if let failure { notice("warning: passed over: \(failure)") }
    return nil
  }

  /// A line on standard error.
  public static func printNotice(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data("\(line)\n".utf8))
  }

  /// The OpenCL device that `name` means; `nil` for the CPU. Those that were `refused`, by their identifiers, count as
  /// unusable.
  static func openCLDevice(
    _ name: String, refused: [String: String] = [:], notice: (String) -> Void = { _ in }
  ) throws -> OpenCLDevice? {
    let wanted = name.lowercased()
    if wanted == "cpu" { return nil }
    var devices = OpenCLBackend.devices()
    for index in devices.indices {
      devices[index].unusable = devices[index].unusable ?? refused[devices[index].identifier]
    }
    if wanted == "auto" {
      let choice = DeviceChoice.automatic(devices, environment: ProcessInfo.processInfo.environment)
      if let warning = choice.warning { notice("warning: \(warning)") }
      if let reason = choice.reason { notice("device auto: \(reason)") }
      return try choice.identifier.map { try .named($0) }
    }
    let found: DeviceDescription?
    if wanted == "opencl" {
      found = devices.first { $0.unusable == nil } ?? devices.first
    } else if wanted.hasPrefix("opencl:") {
      found = devices.first { $0.identifier == wanted }
    } else {
      let named = devices.filter { $0.name.lowercased().contains(wanted) }
      found = named.first { $0.unusable == nil } ?? named.first
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
