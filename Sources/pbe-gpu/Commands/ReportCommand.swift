import ArgumentParser
import Foundation
import Kernels
import PBE

/// Gathers runs in a page.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write a page about runs: one HTML file that needs nothing else.",
    discussion: """
      A run is a folder that infect, erase or inspect wrote. What is missing or damaged in it is named in the page. Contact sheets are \
      shown where erase --report, which has the images at hand, left some in the folder.
      """)

  @Argument(help: ArgumentHelp("The runs' folders.", valueName: "run"))
  var runs: [String]

  @Option(help: "The file to write. Default: report.html in the run's folder; needed for several runs.")
  var output: String?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  func validate() throws {
    guard output != nil || runs.count == 1 else { throw ValidationError("several runs need --output") }
  }

  private struct Record: Encodable {
    var output: String
    var runs: [Report.Summary]
  }

  func run() throws {
    let report = try Report(runs, version: PBEGPU.version)
    let path = output ?? "\(runs[0])/report.html"
    for run in runs {
      for name in try FolderListing.names(in: run) where name != "report.html" {
        try Output.check("\(run)/\(name)", isNot: path)
      }
    }
    try AtomicFile.write(report.html, to: path)
    if json { return try Output.json(Record(output: path, runs: report.runs)) }
    try Output.line(path)
    for run in report.runs {
      for problem in run.problems { try Output.line("\(run.run): \(problem)") }
    }
  }
}
