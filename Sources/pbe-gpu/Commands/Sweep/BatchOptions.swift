import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// A batch system that sweeps can be given to.
enum BatchSystem: String, CaseIterable, ExpressibleByArgument {
  case slurm
}

/// How `sweep` gives its runs to a batch system, one task each.
struct BatchOptions: ParsableArguments {
  @Option(
    help: "Write a batch script to --output that runs each unfinished run as a task, and submit it: slurm.")
  var submit: BatchSystem?

  @Flag(help: "Write the batch script and don't submit it.")
  var writeOnly = false

  @Option(help: "--submit: the time limit of each task, as sbatch takes it. Default: 24:00:00.")
  var time: String?

  @Option(help: "--submit: GPUs for each task; 0 for none. Default: 1.")
  var gpus: Int?

  @Option(help: "--submit: CPU cores for each task. Default: 4.")
  var cpus: Int?

  @Option(help: "--submit: at most so many tasks at once.")
  var atOnce: Int?

  @Option(
    name: .customLong("sbatch"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "--submit: a further option of sbatch, such as --partition=NAME. May be repeated.", valueName: "option")
  )
  var further: [String] = []

  var isWanted: Bool { submit != nil || writeOnly }

  func validate() throws {
    guard isWanted || [gpus, cpus, atOnce].allSatisfy({ $0 == nil }) && time == nil && further.isEmpty else {
      throw ValidationError("--time, --gpus, --cpus, --at-once and --sbatch are for --submit or --write-only")
    }
    guard (0...1024).contains(gpus ?? 1) else { throw ValidationError("--gpus must be 0 to 1024") }
    guard (1...65536).contains(cpus ?? 1) else { throw ValidationError("--cpus must be 1 to 65536") }
    guard (1...1_000_000).contains(atOnce ?? 1) else { throw ValidationError("--at-once must be at least 1") }
    guard (further + [time ?? ""]).allSatisfy({ !$0.contains(where: \.isNewline) }), time != "" else {
      throw ValidationError("options of sbatch have one line each")
    }
  }

  /// Writes the script and, unless that is all, submits it. Throws `missingInput` where there is no sbatch, and `device`
  /// when it refuses.
  func submit(_ plan: SweepPlan, file: String, output: String, options: [String], _ log: Logger) throws {
    // sbatch reads its options from comments, without a way to quote these.
    for path in [Self.absolute(output), FileManager.default.currentDirectoryPath]
    where path.contains(where: { $0.isNewline || "\"\\\t".contains($0) }) {
      throw PBEError(
        .usage, "sbatch can't take a path with quotation marks, backslashes, tabs or line breaks", at: path,
        remedy: "use another folder")
    }
    let sbatch = writeOnly ? "" : try Self.program("sbatch")
    let indices = try plan.unfinished()
    guard !indices.isEmpty else { return log.info("all \(plan.runs.count) runs are finished") }
    try Output.makeDirectory("\(output)/slurm")
    try SweepFile.keepCopy(of: file, in: output)
    let script = "\(output)/slurm/sweep.sbatch"
    let text = SlurmScript(
      name: plan.sweep.name, indices: indices, runs: plan.runs.count, options: self,
      file: Self.absolute(file),
      output: Self.absolute(output), arguments: options
    ).text
    try AtomicFile.write(text, to: script)
    log.info("\(script): \(indices.count) of \(plan.runs.count) runs")
    if writeOnly { return try Output.line(script) }
    let answer = try Self.run(sbatch, ["--parsable", script])
    try Output.line(answer)
  }

  /// The path from the root. Where it has a `..`, that of what is there: behind a link `..` leads elsewhere than the text says.
  static func absolute(_ path: String) -> String {
    if path.split(separator: "/").contains(".."), let real = RealPath.existing(path) { return real }
    return URL(fileURLWithPath: path).standardizedFileURL.path
  }

  /// The path of a program. Throws `missingInput` when it is not on the PATH.
  private static func program(_ name: String) throws -> String {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    let paths = folders.map { "\($0)/\(name)" }
    guard let path = paths.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
      throw PBEError(
        .missingInput, "there is no \(name) on the PATH", at: "--submit slurm",
        remedy: "run this where Slurm is installed, or give --write-only and submit the script there")
    }
    return path
  }

  /// What a program prints. Throws `device` when it fails.
  private static func run(_ program: String, _ arguments: [String]) throws -> String {
    let process = Process()
    let (output, error) = (Pipe(), Pipe())
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = error
    do { try process.run() } catch {
      throw PBEError(.device, "it can't be started", at: program, remedy: "check the installation of Slurm")
    }
    // sbatch prints a line; neither pipe fills up.
    process.waitUntilExit()
    func text(_ pipe: Pipe) -> String {
      String(decoding: (try? pipe.fileHandleForReading.readToEnd()) ?? Data(), as: UTF8.self)
        .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    guard process.terminationStatus == 0 else {
      throw PBEError(
        .device, "sbatch refused the script: \(text(error).prefix(500))", at: arguments.last,
        remedy: "correct --time, --gpus, --cpus or --sbatch, or submit the script by hand")
    }
    return text(output)
  }
}
