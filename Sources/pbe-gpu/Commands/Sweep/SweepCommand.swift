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
      docs/sweeps.md describes the file, docs/cluster.md the use on a cluster. Each cell has a folder in --output. \
      Finished cells are skipped, interrupted ones gone on with, failed ones tried again; a cell that fails does not stop \
      the others. Several processes, also on several machines with a common file system, may work on one sweep. Writes \
      results.md and results.csv to --output.
      """)

  @Argument(help: "The YAML file.")
  var file: String

  @Option(name: .customLong("set"), help: "A variable of the file, NAME=VALUE. May be repeated.")
  var variables: [String] = []

  @Option(help: "Only cells whose names match, for example 'cifar10-*'. May be repeated.")
  var only: [String] = []

  @Option(
    help: ArgumentHelp(
      "Only the run of this number among the chosen ones, from 0, or all. Default: SLURM_ARRAY_TASK_ID, then JOB_COMPLETION_INDEX, else all.",
      valueName: "number"))
  var index: String?

  @Option(help: "The folder of the cells' folders. Default: the file's, or runs/NAME.")
  var output: String?

  @Option(help: "How many cells to run at once on this machine.")
  var jobs = 1

  @Option(
    help:
      "The device for all cells (see pbe-gpu help infect), or several with commas for --jobs to deal out. With --jobs, the default is every GPU, for the cells that have no device of their own, else the CPU, whose threads are shared out."
  )
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

  @Flag(help: "Run nothing; print the command line of each cell.")
  var dryRun = false

  @OptionGroup(title: "Batch systems") var batch: BatchOptions

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  func validate() throws {
    guard (1...1024).contains(jobs) else { throw ValidationError("--jobs must be 1 to 1024") }
    guard [list, dryRun, batch.isWanted].count(where: { $0 }) <= 1 else {
      throw ValidationError("--list, --dry-run and --submit or --write-only exclude each other")
    }
    guard !list || index == nil else {
      throw ValidationError("--list shows all runs: choose with --only, not with --index")
    }
    guard !batch.isWanted || index == nil && jobs == 1 else {
      throw ValidationError("--index and --jobs are not for --submit: each run is a task of its own")
    }
    guard !dryRun && !batch.isWanted || report == nil && !json else {
      throw ValidationError(
        "--report and --json are for results: --dry-run, --submit and --write-only have none")
    }
    guard jobs > 1 || batch.isWanted || !(device ?? "").contains(",") else {
      throw ValidationError("several devices are for --jobs 2 or more to deal out")
    }
    guard !remake || records != nil else {
      throw ValidationError("--remake is for cells that --records has")
    }
  }

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    let log = Logger(label: "pbe-gpu") { _ in TerminalLogHandler() }
    let sweep = try SweepFile.load(file)
    var output = self.output ?? sweep.output
    // Texts that begin with the folder's path are told from others in kept records.
    while output.count > 1, output.hasSuffix("/") { output.removeLast() }
    var plan = try SweepPlan(
      sweep, path: file, only: only, variables: variableValues(of: sweep), output: output, records: records,
      remake: remake)
    if batch.isWanted { return try submit(plan, output: output, log) }
    if let index = try list ? nil : chosenIndex() {
      plan = try plan.run(index)
      log.info("run \(index): \(plan.runs[0].name)")
    }
    if dryRun {
      for job in plan.jobs {
        try Output.line(
          ShellText.command(["pbe-gpu"] + job.arguments(on: SweepJob.Slot(device: firstDevice))))
      }
      return
    }
    var failures: [(job: SweepJob, error: PBEError)] = []
    if let records { try Output.makeDirectory(records) }
    try Output.makeDirectory(output)
    try SweepFile.keepCopy(of: file, in: output)
    // Better now than after hours of work.
    _ = try reportText(of: sweep)
    if !list {
      log.info("\(plan.jobs.count) cells in \(output)")
      failures = try SweepWorkers(plan.jobs, slots: slots(log), log: log).run()
    }
    for job in plan.jobs { try job.folder.keep() }
    let results = try SweepResults(sweep, output: output, records: records)
    try write(results, of: sweep, to: output)
    try Interruption.check("the same command goes on with the sweep")
    try SweepListing(results, plan).print(asJSON: json)
    if let first = failures.first {
      throw PBEError(
        first.error.kind,
        "\(failures.count) of \(plan.jobs.count) cells failed, this one first: \(first.error.description)",
        at: first.job.folder.cell.name,
        remedy: "see \(first.job.folder.logPath); once that is mended, the same command goes on")
    }
  }

  // MARK: - Options

  private func variableValues(of sweep: SweepFile) throws -> [String: String] {
    var values: [String: String] = [:]
    let known = sweep.variableNames
    for text in variables {
      guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
        throw PBEError(.usage, "\"\(text)\" is not NAME=VALUE", at: "--set", remedy: "see docs/sweeps.md")
      }
      let name = String(text[..<equals])
      guard known.contains(name) else {
        throw PBEError(
          .usage, "\(file) has no variable \(name.prefix(100))", at: "--set",
          remedy: known.isEmpty ? "it has none" : "it has \(known.sorted().joined(separator: ", "))")
      }
      values[name] = String(text[text.index(after: equals)...])
    }
    return values
  }

  /// The number of the run that the command line, or else the batch system, asks for; `nil` for all.
  private func chosenIndex() throws -> Int? {
    let environment = ProcessInfo.processInfo.environment
    var (text, place) = (index, "--index")
    for name in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] where text == nil {
      (text, place) = (environment[name], name)
    }
    guard let text, text != "all" else { return nil }
    guard let number = Int(text), number >= 0 else {
      throw PBEError(
        .usage, "\"\(text.prefix(100))\" is no number of a run", at: place,
        remedy: "give a number from 0, or --index all")
    }
    return number
  }

  private var firstDevice: String? { device?.split(separator: ",").first.map(String.init) }

  /// Where the workers compute.
  private func slots(_ log: Logger) throws -> [SweepJob.Slot] {
    guard jobs > 1 else {
      return [SweepJob.Slot(device: firstDevice)]
    }
    let isChosen = device != nil
    let devices =
      device?.split(separator: ",").map(String.init)
      ?? Devices.all().filter { $0.isGPU && $0.unusable == nil }.map(\.identifier)
    var environment: [String: String] = [:]
    if ProcessInfo.processInfo.environment["PBE_GPU_THREADS"] == nil {
      let threads = max(1, ProcessInfo.processInfo.activeProcessorCount / jobs)
      environment["PBE_GPU_THREADS"] = String(threads)
    }
    let threads = environment["PBE_GPU_THREADS"].map { ", \($0) CPU threads each" } ?? ""
    log.info("\(jobs) at once on \(devices.isEmpty ? "the CPU" : devices.joined(separator: ", "))\(threads)")
    return (0..<jobs).map { worker in
      SweepJob.Slot(
        device: devices.isEmpty ? device : devices[worker % devices.count], isChosen: isChosen,
        environment: environment)
    }
  }

  private func submit(_ plan: SweepPlan, output: String, _ log: Logger) throws {
    var options = variables.map { "--set=\($0)" } + only.map { "--only=\($0)" }
    for (name, value) in [("device", device), ("records", records)] {
      if let value { options.append("--\(name)=\(value)") }
    }
    if remake { options.append("--remake") }
    try batch.submit(plan, file: file, output: output, options: options, log)
  }

  // MARK: - Results

  private func write(_ results: SweepResults, of sweep: SweepFile, to output: String) throws {
    try AtomicFile.write(results.markdown, to: "\(output)/results.md")
    try AtomicFile.write(results.csv, to: "\(output)/results.csv")
    if let report, let text = try reportText(of: sweep) {
      try AtomicFile.write(results.inserted(into: text, path: report), to: report)
    }
  }

  /// What `--report` has; `nil` without one. Throws where there is no place for the sweep's table in it.
  private func reportText(of sweep: SweepFile) throws -> String? {
    guard let report else { return nil }
    let bytes = try InputFile.read(report, limit: 1 << 26, remedy: "name a Markdown file that is there")
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw PBEError(.badData, "the file is not UTF-8", at: report, remedy: "name a Markdown file")
    }
    try SweepResults.place(of: sweep, in: text, path: report)
    return text
  }
}
