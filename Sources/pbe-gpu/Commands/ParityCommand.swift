import ArgumentParser
import Foundation
import Kernels
import PBE
import Parity

/// Checks a device's kernels.
struct ParityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parity",
    abstract: "Check every operator on a device against exact results, and list what was covered.",
    discussion: "Runs on every usable device unless --device names one. Exits with 69 when a check fails.")

  @Option(help: "The device; default: all usable ones.")
  var device: String?

  @OptionGroup var products: PrecisionOption

  @Option(help: "Only cases whose name contains this text.")
  var filter: String?

  @Flag(help: "Also the sums of real batches, which take about a minute on a CPU with two cores.")
  var large = false

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "List failures and totals only.")
  var quiet = false

  private struct Record: Encodable {
    struct Device: Encodable {
      struct Group: Encodable {
        /// `nil` where a check ended with an error, or with what is no number.
        var cases: Int, failed: Int, worst_error: Double?
      }
      var device: String, name: String, cases: Int, failed: Int
      var operators: [String: Group]
      var failures: [String]
    }
    var devices: [Device]
    var opencl_missing: String?
  }

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    let backends = try backends()
    let count = (ParityTable.all + (large ? ParityTable.large : [])).count {
      filter.map($0.name.contains) ?? true
    }
    guard count > 0 else {
      throw PBEError(.usage, "no case has this in its name", at: "--filter \(filter ?? "")")
    }
    var record = Record(devices: [], opencl_missing: OpenCLBackend.missing)
    for backend in backends {
      var done = 0
      Terminal.shared.log("\(backend.device.identifier): \(count) checks")
      let results = try ParityRunner.run(on: backend, filter: filter ?? "", large: large) { result in
        try Interruption.check("run the command again")
        done += 1
        Terminal.shared.progress("\(backend.device.identifier): \(result.name)", Double(done) / Double(count))
        if !result.passed { Terminal.shared.error(result.description) }
      }
      Terminal.shared.clear()
      record.devices.append(Self.summary(results, backend.device))
      if !json { try Self.show(record.devices[record.devices.count - 1], quiet: quiet) }
    }
    if json {
      try Output.json(record)
    } else if device == nil, let missing = record.opencl_missing {
      try Output.line("no OpenCL device was covered: \(missing)")
    }
    let failed = record.devices.reduce(0) { $0 + $1.failed }
    if failed > 0 {
      throw PBEError(
        .device, "\(failed) of \(count * backends.count) checks failed",
        remedy: "don't trust results of that device")
    }
  }

  /// The device that was named, or all that can be used with this precision.
  private func backends() throws -> [any Backend] {
    let precision = try products.precision ?? Precision.requested()
    if let device { return [try open(device, precision)] }
    let backends = try Devices.all().filter { $0.unusable == nil }.compactMap { device -> (any Backend)? in
      // Every device has fp32, and to ask takes a while.
      let support =
        precision == .fp32 ? nil : Devices.precisions(of: device).first { $0.precision == precision }
      if let problem = support?.problem {
        Terminal.shared.log("\(device.identifier) is not covered: \(problem)")
        return nil
      }
      return try open(device.identifier, precision)
    }
    guard !backends.isEmpty else {
      throw PBEError(
        .device, "no device computes products in \(precision.rawValue)", at: "--precision",
        remedy: "`pbe-gpu devices` lists what each device has")
    }
    return backends
  }

  private func open(_ device: String, _ precision: Precision) throws -> any Backend {
    try Devices.open(device, precision: precision, notice: { Terminal.shared.log($0) }) { what, share in
      try Interruption.check("run the command again")
      Terminal.shared.progress("tuning \(what)", share)
    }
  }

  private static func summary(_ results: [ParityResult], _ device: DeviceDescription) -> Record.Device {
    let groups = Dictionary(grouping: results) { String($0.name.prefix { $0 != "/" }) }
    return Record.Device(
      device: device.identifier, name: device.name, cases: results.count,
      failed: results.count { !$0.passed },
      operators: groups.mapValues { group in
        Record.Device.Group(
          cases: group.count, failed: group.count { !$0.passed },
          worst_error: group.map(\.error).max().flatMap { $0.isFinite ? $0 : nil })
      },
      failures: results.filter { !$0.passed }.map(\.description))
  }

  private static func show(_ device: Record.Device, quiet: Bool) throws {
    if !quiet {
      let rows = device.operators.sorted { $0.key < $1.key }.map { name, group in
        [
          name, "\(group.cases)", "\(group.failed)",
          group.worst_error.map { String(format: "%.1e", $0) } ?? "-",
        ]
      }
      try Output.table([["operator", "cases", "failed", "worst |a-b|^2/|b|^2"]] + rows)
    }
    try Output.line(
      "\(device.device) (\(device.name)): \(device.cases - device.failed) of \(device.cases) checks passed")
  }
}
