import ArgumentParser
import Foundation
import Kernels
import PBE

/// The chosen runs of a sweep as jobs, in an order in which each comes after those that it needs.
struct SweepPlan {
  /// One numbered run.
  struct Run {
    let name: String
    /// The places of its jobs in ``SweepPlan/jobs``.
    let jobs: [Int]
  }

  let sweep: SweepFile
  /// What each cell takes.
  let jobs: [SweepJob]
  /// The chosen runs, numbered from 0.
  let runs: [Run]

  /// Chooses and checks: every cell's arguments are those that its command accepts.
  ///
  /// - Parameters:
  ///   - path: the file, for errors.
  ///   - only: patterns; a run belongs to the plan whose name, or one of whose cells' names, matches one. Of the latter only
  ///     that cell is done, with those that it needs.
  ///   - variables: of the command line.
  ///
  /// Throws `usage` or `badData` naming the cell.
  init(
    _ sweep: SweepFile, path: String, only: [String], variables: [String: String], output: String,
    records: String?, remake: Bool
  ) throws {
    self.sweep = sweep
    let values = sweep.variables.merging(ProcessInfo.processInfo.environment) { $1 }
      .merging(variables) { $1 }
    var chosen: [(name: String, cells: [Int])] = []
    for run in sweep.runs {
      var cells = run.cells
      if !only.isEmpty, !Self.matches(run.name, only) {
        // From the last to the first, since each comes after those that it needs.
        var wanted = Set(cells.map { sweep.cells[$0].name }.filter { Self.matches($0, only) })
        for cell in cells.reversed() where wanted.contains(sweep.cells[cell].name) {
          wanted.formUnion(sweep.cells[cell].needs.values)
        }
        cells.removeAll { !wanted.contains(sweep.cells[$0].name) }
      }
      if !cells.isEmpty { chosen.append((run.name, cells)) }
    }
    guard !chosen.isEmpty else {
      throw PBEError(.usage, "no cell's name matches", at: "--only", remedy: "see --list for the names")
    }
    let cells = Set(chosen.flatMap(\.cells)).sorted()
    let folders = cells.map { SweepCellFolder(sweep.cells[$0], output: output, records: records) }
    // Those that cells need which are still to be run: their files must be there, not only their records.
    var needed: Set<String> = []
    for folder in folders.reversed() {
      let state = try folder.state
      if !state.isDone || remake || state != .finished && needed.contains(folder.cell.name) {
        needed.formUnion(folder.cell.needs.values)
      }
    }
    jobs = try folders.map { folder in
      var places = [FileManager.default.currentDirectoryPath: "."]
      var job = try Self.job(
        folder, path: path, remakes: remake || needed.contains(folder.cell.name),
        isNeeded: needed.contains(folder.cell.name)
      ) { name in
        let value = folder.cell.needs[name].map { "\(output)/\($0)" } ?? values[name]
        if let value, value.hasPrefix("/") {
          places[URL(fileURLWithPath: value).standardizedFileURL.path] = "${\(name)}"
        }
        return value
      }
      job.folder.places = places
      return job
    }
    let places = Dictionary(uniqueKeysWithValues: cells.enumerated().map { ($1, $0) })
    runs = chosen.map { Run(name: $0.name, jobs: $0.cells.compactMap { places[$0] }) }
  }

  private init(_ sweep: SweepFile, jobs: [SweepJob], runs: [Run]) {
    self.sweep = sweep
    self.jobs = jobs
    self.runs = runs
  }

  /// The plan of one of its runs. Throws `usage` when there is none of this number.
  func run(_ index: Int) throws -> SweepPlan {
    guard runs.indices.contains(index) else {
      throw PBEError(
        .usage, "there is no run \(index); there are 0 to \(runs.count - 1)", at: "--index",
        remedy: "see --list --json; --index all means all")
    }
    let run = runs[index]
    return SweepPlan(
      sweep, jobs: run.jobs.map { jobs[$0] }, runs: [Run(name: run.name, jobs: Array(run.jobs.indices))])
  }

  /// The numbers of the runs that are not done.
  func unfinished() throws -> [Int] {
    try runs.indices.filter { run in
      try runs[run].jobs.contains { job in
        let state = try jobs[job].folder.state
        return !state.isDone || state == .recorded && jobs[job].remakes
      }
    }
  }

  private static func matches(_ name: String, _ patterns: [String]) -> Bool {
    patterns.contains { fnmatch($0, name, 0) == 0 }
  }

  // MARK: - Jobs

  /// The commands that write to a folder which may be there already.
  private static let commands: [any ParsableCommand.Type] = [
    InfectCommand.self, EvaluateCommand.self, EraseCommand.self, InspectCommand.self, ObserveCommand.self,
    ReportCommand.self,
  ]

  private static func job(
    _ folder: SweepCellFolder, path: String, remakes: Bool, isNeeded: Bool,
    variables: (String) -> String?
  ) throws -> SweepJob {
    let cell = folder.cell
    guard let command = commands.first(where: { $0.configuration.commandName == cell.command }) else {
      throw PBEError(
        .badData, "command \"\(cell.command.prefix(100))\" is none that a sweep can run", at: path,
        remedy: "there are \(commands.compactMap { $0.configuration.commandName }.joined(separator: ", "))")
    }
    var arguments = try cell.arguments(variables) + ["--output=\(folder.outputPath)"]
    func accepts(_ more: String) -> Bool { (try? command.parseAsRoot(arguments + [more])) != nil }
    do { _ = try command.parseAsRoot(arguments) } catch {
      throw PBEError(
        .badData,
        "\(cell.command) refuses the options of the cell \(cell.name): \(command.message(for: error))",
        at: path, remedy: "correct them, or give --set")
    }
    // Of a flag that is on where nothing is said.
    for (key, value) in cell.options.sorted(by: { $0.key < $1.key }) where value == .flag(false) {
      if accepts("--no-\(key)") { arguments.append("--no-\(key)") }
    }
    let takesDevice = accepts("--device=cpu")
    if accepts("--resume") { arguments.append("--resume") }
    return SweepJob(
      folder: folder, arguments: [cell.command] + arguments, takesDevice: takesDevice, remakes: remakes,
      isNeeded: isNeeded)
  }
}
