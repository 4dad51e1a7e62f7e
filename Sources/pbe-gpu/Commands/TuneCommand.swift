import ArgumentParser
import Foundation
import Kernels
import PBE

/// Finds the fastest kernels for a device.
struct TuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune",
    abstract: "Find the fastest right kernels for an OpenCL device, and remember them.",
    discussion: """
      Every candidate is checked against the CPU first. A GPU is tuned by itself the first time that it is used; do it \
      again after changes that the program can't see, on an otherwise idle device.
      """)

  @Option(help: ArgumentHelp("The device: opencl, opencl:1, or part of its name.", valueName: "device"))
  var device = "auto"

  @Flag(help: "Try more, and time longer: about 5 minutes instead of 30 seconds.")
  var thorough = false

  @Option(help: "About how many seconds it may take.")
  var seconds: Double?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  func validate() throws {
    if let seconds, !(seconds > 0 && seconds <= 86400) {
      throw ValidationError("--seconds must be more than 0 and at most 86400")
    }
  }

  private struct Record: Encodable {
    struct Family: Encodable {
      var family: String, standard: String, chosen: String
      var speed_up: Double, error: Double?, tried: Int, discarded: [String]
    }
    var device: String, file: String, seconds: Double
    var families: [Family]
  }

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    let report = try Devices.tune(device, thorough: thorough, seconds: seconds) { what, share in
      try Interruption.check("run the command again")
      Terminal.shared.progress(what, share)
    }
    Terminal.shared.clear()
    if json {
      try Output.json(
        Record(
          device: report.device, file: report.file, seconds: report.seconds,
          families: report.rows.map {
            Record.Family(
              family: $0.family, standard: $0.standard, chosen: $0.chosen, speed_up: $0.speedUp,
              error: $0.error, tried: $0.tried, discarded: $0.discarded)
          }))
      return
    }
    for row in report.rows {
      for line in row.discarded { Terminal.shared.log("\(row.family): discarded: \(line)") }
    }
    try Output.table(
      [["family", "default", "chosen", "speed-up", "error", "tried"]]
        + report.rows.map { row in
          [
            row.family, row.standard, row.chosen, String(format: "%.2f", row.speedUp),
            row.error.map { String(format: "%.1e", $0) } ?? (row.tried > 0 ? "none is right" : "not tried"),
            "\(row.tried)",
          ]
        })
    try Output.line("\(report.device): written to \(report.file) after \(Int(report.seconds)) s")
  }
}
