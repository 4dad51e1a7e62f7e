import Foundation

/// A batch script that runs the runs of a sweep as an array of tasks.
struct SlurmScript {
  /// The sweep's name.
  var name: String
  /// The numbers of the runs.
  var indices: [Int]
  /// How many runs the sweep has.
  var runs: Int
  var options: BatchOptions
  /// Absolute paths of the file and the output folder.
  var file: String, output: String
  /// Further arguments of `sweep`.
  var arguments: [String]

  /// The script. Its log files have the numbers of the job and the run.
  var text: String {
    // The file's name may be anything.
    let name = String(name.prefix(60).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
    var directives = ["job-name=pbe-gpu-\(name)", "array=\(Self.ranges(indices))"]
    if let limit = options.atOnce { directives[1] += "%\(limit)" }
    directives += ["time=\(options.time ?? "24:00:00")", "cpus-per-task=\(options.cpus ?? 4)"]
    let gpus = options.gpus ?? 1
    if gpus > 0 { directives.append("gres=gpu:\(gpus)") }
    directives += [
      "signal=B:USR1@90", "requeue", "open-mode=append",
      "output=\(Self.quoted(output.replacingOccurrences(of: "%", with: "%%") + "/slurm/%A_%a.log"))",
      "chdir=\(Self.quoted(FileManager.default.currentDirectoryPath))",
    ]
    let further = options.further.map { $0.hasPrefix("-") ? $0 : "--\($0)" }
    let lines = directives.map { "#SBATCH --\($0)" } + further.map { "#SBATCH \($0)" }
    let program = Bundle.main.executablePath ?? CommandLine.arguments[0]
    let command = ShellText.command([program, "sweep", file, "--output=\(output)"] + arguments)
    return """
      #!/bin/bash
      # \(indices.count) of the \(runs) runs of the sweep \(name), one task each. Written by pbe-gpu \(PBEGPU.version).
      \(lines.joined(separator: "\n"))

      # The run of this task's number (SLURM_ARRAY_TASK_ID). 90 seconds before its time is up, or when it is preempted, it
      # is told to write a checkpoint; then it ends with 75, and the task is queued again to go on from there.
      \(command) &
      child=$!
      trap 'kill -USR1 "$child" 2>/dev/null' USR1 TERM
      # A signal ends the waiting, not the run.
      wait "$child"
      code=$?
      while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
      done
      if [ "$code" -eq 75 ]; then
        # Not after scancel: then the task is no longer running.
        state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)
        if [ "$state" = RUNNING ]; then
          echo "interrupted: queued again"
          scontrol requeue "$SLURM_JOB_ID"
          sleep 30 # Slurm ends this script.
        fi
      fi
      exit "$code"

      """
  }

  /// `0-3,7`.
  static func ranges(_ numbers: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = ranges.last, last.upperBound + 1 == number {
        ranges[ranges.count - 1] = last.lowerBound...number
      } else {
        ranges.append(number...number)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }

  /// A value as sbatch reads it from a script: without quotation marks a `#` would begin a comment, and a `'` a quotation.
  private static func quoted(_ text: String) -> String { "\"\(text)\"" }
}

/// Command lines as a shell reads them.
enum ShellText {
  /// Words with spaces between them, quoted where they have to be.
  static func command(_ words: [String]) -> String { words.map(word).joined(separator: " ") }

  private static func word(_ text: String) -> String {
    let plain = text.unicodeScalars.allSatisfy {
      $0.isASCII
        && ($0.properties.isAlphabetic || ("0"..."9").contains($0)
          || "-_=+.,/:@%".unicodeScalars.contains($0))
    }
    if plain, !text.isEmpty { return text }
    return "'\(text.replacingOccurrences(of: "'", with: "'\\''"))'"
  }
}
