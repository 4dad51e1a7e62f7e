import ArgumentParser
import Kernels
import PBE

/// Lists what this machine can compute on.
struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "List the devices of this machine, and why one can't be used.")

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  private struct Record: Encodable {
    var identifier: String, name: String, platform: String, driver: String, version: String
    var compute_units: Int, memory_bytes: Int, largest_allocation_bytes: Int
    var kernels: String, usable: Bool, reason: String?
    var precisions: [String: String]
  }

  private struct Listing: Encodable {
    var devices: [Record]
    var opencl_missing: String?
  }

  /// `fp32, tf32; bf16 not available: ...`
  private static func words(_ support: [PrecisionSupport]) -> String {
    let available = support.filter { $0.problem == nil }.map(\.precision.rawValue).joined(separator: ", ")
    let reasons = Dictionary(grouping: support.filter { $0.problem != nil }, by: \.problem)
    let refused = reasons.map { reason, support in
      support.map(\.precision.rawValue).joined(separator: ", ") + " not available: \(reason ?? "")"
    }
    return ([available] + refused.sorted()).filter { !$0.isEmpty }.joined(separator: "; ")
  }

  func run() throws {
    let devices = Devices.all()
    let missing = OpenCLBackend.missing
    if json {
      try Output.json(
        Listing(
          devices: devices.map {
            Record(
              identifier: $0.identifier, name: $0.name, platform: $0.platform, driver: $0.driver,
              version: $0.version, compute_units: $0.computeUnits, memory_bytes: $0.memoryByteCount,
              largest_allocation_bytes: $0.largestAllocation, kernels: $0.kernels, usable: $0.unusable == nil,
              reason: $0.unusable,
              precisions: Dictionary(
                uniqueKeysWithValues: Devices.precisions(of: $0).map {
                  ($0.precision.rawValue, $0.problem.map { "not available: \($0)" } ?? "available")
                }))
          }, opencl_missing: missing))
      return
    }
    for device in devices {
      try Output.line("\(device.identifier): \(device.name)")
      try Output.line("  platform   \(device.platform), \(device.version), driver \(device.driver)")
      try Output.line(
        "  resources  \(device.computeUnits) compute units, \(device.memoryByteCount >> 20) MiB, "
          + "largest buffer \(device.largestAllocation >> 20) MiB")
      try Output.line("  kernels    \(device.kernels)")
      try Output.line("  products   \(Self.words(Devices.precisions(of: device)))")
      if let reason = device.unusable { try Output.line("  UNUSABLE   \(reason)") }
    }
    if let missing { try Output.line("opencl: none (\(missing))") }
  }
}
