import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// Makes the table of a sweep from what is finished.
struct CollectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "collect",
    abstract: "Print a sweep's results from whatever is finished, and say what is not.",
    discussion: "Reads only, at any time: also while tasks of a cluster work on the sweep.")

  enum Format: String, CaseIterable, ExpressibleByArgument {
    case markdown, csv, json
  }

  @Argument(help: "The folder that sweep writes to.")
  var folder: String

  @Option(help: "markdown, csv or json. Default: markdown.")
  var format: Format?

  @Option(help: "The folder of --records that sweep was given.")
  var records: String?

  @Flag(help: "The same as --format json.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  func validate() throws {
    guard !json || format ?? .json == .json else { throw ValidationError("--json is --format json") }
  }

  private struct Record: Encodable {
    struct Cell: Encodable {
      var name: String, step: String?, state: SweepCellFolder.State, labels: [String: String]
      var error: String?, values: [String: SweepValue]
    }
    var sweep: String, cells: [Cell]
  }

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    let log = Logger(label: "pbe-gpu") { _ in TerminalLogHandler() }
    let sweep = try SweepFile.ofFolder(folder)
    let results = try SweepResults(sweep, output: folder, records: records)
    switch json ? .json : format ?? .markdown {
    case .markdown:
      let failures = results.failures
      try Output.line(
        (results.markdown + (failures.isEmpty ? "" : "\n\(failures)")).trimmingCharacters(in: .newlines))
    case .csv: try Output.line(results.csv.trimmingCharacters(in: .newlines))
    case .json:
      try Output.json(
        Record(
          sweep: sweep.name,
          cells: results.rows.map { row in
            Record.Cell(
              name: row.cell.name, step: row.cell.step.isEmpty ? nil : row.cell.step, state: row.state,
              labels: row.cell.labels, error: row.error, values: row.values)
          }))
    }
    log.info("\(results.rows.count) cells: \(results.summary)")
  }
}
