import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// Runs every cell of a matrix, each in a process of its own.
struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Run a matrix of runs that a YAML file describes; resumable.",
    discussion: """
      docs/sweeps.md describes the file. Each cell has a folder in --output. Finished cells are skipped, interrupted \
      ones gone on with, failed ones tried again; a cell that fails does not stop the others. Several processes, also on \
      several machines with a common file system, may work on one sweep. Writes results.md and results.csv to --output.
      """)

  @Argument(help: "The YAML file.")
  var file: String

  @Option(name: .customLong("set"), help: "A variable of the file, NAME=VALUE. May be repeated.")
  var variables: [String] = []

  @Option(help: "Only cells whose names match, for example 'cifar10-*'. May be repeated.")
  var only: [String] = []

  @Option(help: "The folder of the cells' folders. Default: the file's, or runs/NAME.")
  var output: String?

  @Option(help: "The device for all cells; see pbe-gpu help infect.")
  var device: String?

  @Option(help: "Also put the table into this Markdown file, between its markers (docs/results.md).")
  var report: String?

  @Option(
    help:
      "A folder that keeps the finished cells' records. A cell that has one there is not run again, though its folder be gone."
  )
  var records: String?

  @Flag(help: "Run cells again that have a record in --records but no folder: for their models.")
  var remake = false

  @Flag(help: "Run nothing; list the cells and how far they are, and write the tables.")
  var list = false

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  /// The commands that cells can run.
  private static let commands: [String: any ParsableCommand.Type] = [
    "infect": InfectCommand.self, "erase": EraseCommand.self,
  ]
  /// Those that go on from a checkpoint.
  private static let resumable: Set = ["infect", "erase"]

  private struct Listing: Encodable {
    struct Cell: Encodable {
      var name: String, state: SweepCellFolder.State, folder: String, arguments: [String], error: String?
    }
    var sweep: String, cells: [Cell]
  }

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    let log = Logger(label: "pbe-gpu") { _ in TerminalLogHandler() }
    let sweep = try SweepFile.load(file)
    let output = self.output ?? sweep.output
    let jobs = try self.jobs(sweep, output: output)
    var failures: [(name: String, error: PBEError)] = []
    if let records { try Output.makeDirectory(records) }
    if !list {
      log.info("\(jobs.count) cells in \(output)")
      for (index, job) in jobs.enumerated() {
        try Interruption.check("the same command goes on")
        let place = "[\(index + 1)/\(jobs.count)] \(job.folder.cell.name)"
        do {
          try job.run(log, place)
          try job.folder.keep()
        } catch let error as PBEError where error.kind != .interrupted {
          log.warning("\(place) failed: \(error.description)")
          failures.append((job.folder.cell.name, error))
        }
      }
    }
    for job in jobs { try job.folder.keep() }
    let results = try SweepResults(sweep, output: output, records: records)
    try write(results, to: output)
    try print(results, jobs, sweep)
    if let first = failures.first {
      throw PBEError(
        first.error.kind, "\(failures.count) of \(jobs.count) cells failed", at: first.name,
        remedy: "see \(output)/\(first.name)/log.txt; the same command tries them again")
    }
  }

  /// The chosen cells, with arguments that their command accepts. Throws `usage` or `badData` naming the cell.
  private func jobs(_ sweep: SweepFile, output: String) throws -> [SweepJob] {
    guard let command = Self.commands[sweep.command] else {
      throw PBEError(
        .badData,
        "command \"\(sweep.command)\" is not one of \(Self.commands.keys.sorted().joined(separator: ", "))",
        at: file, remedy: "correct it")
    }
    var values = sweep.variables.merging(ProcessInfo.processInfo.environment) { $1 }
    for text in variables {
      guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
        throw PBEError(.usage, "\"\(text)\" is not NAME=VALUE", at: "--set", remedy: "see docs/sweeps.md")
      }
      values[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    let chosen = sweep.cells.filter { cell in
      only.isEmpty || only.contains { fnmatch($0, cell.name, 0) == 0 }
    }
    guard !chosen.isEmpty else {
      throw PBEError(.usage, "no cell's name matches", at: "--only", remedy: "see --list for the names")
    }
    return try chosen.map { cell in
      let folder = SweepCellFolder(cell, command: sweep.command, output: output, records: records)
      var arguments = try cell.arguments { values[$0] }
      if let device {
        arguments.removeAll { $0.hasPrefix("--device=") }
        arguments.append("--device=\(device)")
      }
      arguments.append("--output=\(folder.path)")
      do { _ = try command.parseAsRoot(arguments) } catch {
        throw PBEError(
          .badData,
          "\(sweep.command) refuses the options of the cell \(cell.name): \(command.message(for: error))",
          at: file, remedy: "correct them, or give --set")
      }
      if Self.resumable.contains(sweep.command) { arguments.append("--resume") }
      return SweepJob(folder: folder, arguments: [sweep.command] + arguments, remakes: remake)
    }
  }

  private func write(_ results: SweepResults, to output: String) throws {
    try Output.makeDirectory(output)
    try AtomicFile.write(results.markdown, to: "\(output)/results.md")
    try AtomicFile.write(results.csv, to: "\(output)/results.csv")
    guard let report else { return }
    let bytes = try InputFile.read(report, limit: 1 << 26, remedy: "name a Markdown file that is there")
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw PBEError(.badData, "the file is not UTF-8", at: report, remedy: "name a Markdown file")
    }
    try AtomicFile.write(results.inserted(into: text), to: report)
  }

  private func print(_ results: SweepResults, _ jobs: [SweepJob], _ sweep: SweepFile) throws {
    let rows = Dictionary(results.rows.map { ($0.cell.name, $0) }) { $1 }
    if json {
      return try Output.json(
        Listing(
          sweep: sweep.name,
          cells: jobs.map { job in
            let row = rows[job.folder.cell.name]
            return Listing.Cell(
              name: job.folder.cell.name, state: row?.state ?? .missing, folder: job.folder.path,
              arguments: job.arguments, error: row?.error)
          }))
    }
    try Output.table(
      [["cell", "state", "ACC", "ASR"]]
        + jobs.map { job in
          let row = rows[job.folder.cell.name]
          func percent(_ name: String) -> String {
            Output.percent(
              (row?.values["after.\(name)"] ?? row?.values["metrics.\(name)"]).flatMap(Double.init))
          }
          return [job.folder.cell.name, row?.state.rawValue ?? "", percent("acc"), percent("asr")]
        })
  }
}
