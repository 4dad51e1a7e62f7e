import Foundation
import Testing

extension CommandTests {
  /// Chains of steps, numbers of runs, several at once, batch scripts, and `collect`.
  @Suite struct Sweeps {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func plan() throws -> [String] {
      let file = try folder.write(
        "plan.yaml",
        """
        output: "\(folder["runs"])"
        defaults: {dataset: mnist, data: "${DATA}", device: cpu}
        axes:
          attack: [badnet, blend]
          defense:
            tuning: {method: fine-tuning, clean-fraction: 0.2}
            aft: {method: aft, recipe: paper, clean-fraction: 0.2}
            broken: {method: aft, recipe: paper, clean: /nowhere}
        exclude: [{attack: blend, defense: [aft, broken]}]
        steps:
          infect: {axes: [attack], options: {architecture: mnist-net, width: 4, epochs: 4, batch: 16, no-augment: true}}
          erase:
            axes: [defense]
            options: {model: "${infect}/model.safetensors", attack: "${infect}/attack.json", epochs: 2}
          after: {command: evaluate, options: {model: "${erase}/model.safetensors", attack: "${infect}/attack.json"}}
        """)
      return ["sweep", file, "--set", "DATA=\(victim.folder.path)"]
    }

    private func states() throws -> [String: String] {
      let record = try Program.succeed(["collect", folder["runs"], "--json"]).json()
      let cells = try #require(record["cells"] as? [[String: Any]])
      for cell in cells where cell["state"] as? String == "finished" {
        let values = try #require(cell["values"] as? [String: Any])
        let rate = ["acc", "metrics.acc", "after.acc"].compactMap { values[$0] }.first
        #expect(rate is Double && values["device"] is String)
      }
      return Dictionary(
        uniqueKeysWithValues: cells.map { ($0["name"] as? String ?? "", $0["state"] as? String ?? "") })
    }

    /// The project's own experiments are files that the program takes.
    @Test(arguments: ["ablations", "bank", "defenses", "full-width", "observations", "published", "victims"])
    func ownExperiments(name: String) throws {
      let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
      let file = package.appendingPathComponent("experiments/\(name).yaml").path
      let runs = try Program.succeed(
        ["sweep", file, "--set", "DATA=/nowhere", "--output", folder["own"], "--dry-run"]
      ).output.split(separator: "\n")
      #expect(!runs.isEmpty)
      #expect(runs.allSatisfy { $0.hasPrefix("pbe-gpu ") && $0.contains("/nowhere") && !$0.contains("${") })
    }

    /// A command that won't write into a folder which is there is refused before anything is run.
    @Test(arguments: ["poison", "show", "calibrate", "sweep", "magic"]) func unfitCommands(command: String)
      throws
    {
      let file = try folder.write(
        "plan.yaml",
        "command: \(command)\ndefaults: {dataset: mnist, data: \"\(victim.folder.path)\"}\naxes: {attack: [badnet]}"
      )
      let arguments = ["sweep", file, "--output", folder["o"]]
      try Program.fail(65, [command, "there are infect, evaluate"], arguments)
      #expect(folder.names("o").isEmpty)
    }

    /// `false` turns a flag off that is on where nothing is said.
    @Test func flagsThatAreOff() throws {
      let file = try folder.write(
        "plan.yaml",
        "defaults: {dataset: mnist, data: /nowhere, augment: false, nesterov: false}\naxes: {attack: [badnet]}"
      )
      let line = try Program.succeed(["sweep", file, "--output", folder["o"], "--dry-run"]).output
      #expect(line.contains(" --no-augment") && !line.contains("nesterov"), "\(line)")
    }

    @Test func chain() throws {
      let arguments = try plan()
      // A step's or an axis's name is no variable either.
      for name in ["DATE", "infect", "attack"] {
        let wrong = arguments + ["--set", "\(name)=x", "--dry-run"]
        try Program.fail(64, ["no variable \(name)", "it has DATA"], wrong)
      }
      try Program.fail(64, ["--list", "--only"], arguments + ["--list", "--index", "1"])
      let lines = try Program.succeed(arguments + ["--dry-run", "--index", "3"]).output.split(separator: "\n")
      #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("pbe-gpu ") }, "\(lines)")
      #expect(
        lines[1].hasPrefix("pbe-gpu erase ") && lines[1].contains("runs/infect/blend/model.safetensors"))
      #expect(folder.names("runs").isEmpty, "a dry run writes nothing")
      // One run by its number makes what it needs, and nothing else.
      let one = try Program.succeed(arguments, environment: ["SLURM_ARRAY_TASK_ID": "3"])
      #expect(one.error.contains("run 3: blend-tuning"), "\(one.error)")
      #expect(
        try states().filter { $0.value == "finished" }.keys.sorted() == [
          "after/blend-tuning", "erase/blend-tuning", "infect/blend",
        ])
      #expect(
        try Program.succeed(arguments, environment: ["JOB_COMPLETION_INDEX": "3"]).error.contains(
          "is finished"))
      let moved = Array(arguments.dropLast()) + ["DATA=\(victim.folder.path)/", "--index", "3"]
      let others = try Program.succeed(moved).error
      #expect(
        others.contains("is finished, with other values of variables (") && others.contains("--data="),
        "\(others)")
      try Program.fail(64, ["run 4", "0 to 3"], arguments + ["--index", "4"])
      try Program.fail(64, ["SLURM_ARRAY_TASK_ID"], arguments, environment: ["SLURM_ARRAY_TASK_ID": "x"])
      // The rest, two at once. What fails takes along only what needs it.
      let rest = try Program.run(arguments + ["--jobs", "2", "--index", "all"])
      #expect(rest.status == 66 && rest.error.contains("2 of 10 cells failed"), "\(rest.error)")
      #expect(rest.error.contains("it needs erase/badnet-broken, which failed"))
      #expect(rest.error.contains("2 at once on the CPU"))
      let found = try states()
      #expect(found.filter { $0.value == "finished" }.count == 8)
      #expect(found["erase/badnet-broken"] == "failed" && found["after/badnet-broken"] == "missing")
      let model = folder.bytes("runs/infect/badnet/model.safetensors")
      #expect(!folder.data("runs/infect/badnet/model.safetensors").isEmpty)
      let markdown = try Program.succeed(["collect", folder["runs"]])
      for part in [
        "### infect", "### erase", "### after", "| badnet | aft |", "erase/badnet-broken failed: ", "nowhere",
      ] {
        #expect(markdown.output.contains(part), "\(part): \(markdown.output)")
      }
      #expect(markdown.error.contains("10 cells: 1 missing, 8 finished, 1 failed"), "\(markdown.error)")
      let csv = try Program.succeed(["collect", folder["runs"], "--format", "csv"]).output.split(
        separator: "\n")
      // Some texts in the records have several lines.
      #expect(csv[0].hasPrefix("cell,state,axis.attack,axis.defense,acc,"))
      let cellLines = csv.filter { line in ["infect/", "erase/", "after/"].contains { line.hasPrefix($0) } }
      #expect(cellLines.count == 10, "\(csv)")
      // A cell alone, with those that it needs.
      try FileManager.default.removeItem(atPath: folder["runs/erase/badnet-aft"])
      let alone = try Program.succeed(arguments + ["--only", "erase/badnet-aft", "--json"])
      let cells = try #require(try alone.json()["cells"] as? [[String: Any]])
      #expect(cells.compactMap { $0["name"] as? String } == ["infect/badnet", "erase/badnet-aft"])
      #expect(folder.bytes("runs/infect/badnet/model.safetensors") == model)
      try Program.fail(66, ["no sweep"], ["collect", folder.path])
    }

    /// Of a chain whose first step is only in `--records`, a later step that needs the second alone makes just itself.
    @Test func finishedStepNeedsNothing() throws {
      let file = try folder.write(
        "plan.yaml",
        """
        output: "\(folder["runs"])"
        defaults: {dataset: mnist, data: "\(victim.folder.path)", device: cpu}
        axes: {attack: [badnet]}
        steps:
          infect: {axes: [attack], options: {architecture: mnist-net, width: 4, epochs: 2, batch: 16, no-augment: true}}
          erase: {options: {model: "${infect}/model.safetensors", method: fine-tuning, clean-fraction: 0.2, epochs: 1}}
          after: {command: evaluate, options: {model: "${erase}/model.safetensors"}}
        """)
      let arguments = ["sweep", file, "--records", folder["records"]]
      _ = try Program.succeed(arguments)
      for name in ["runs/infect", "runs/after", "records/after"] {
        try FileManager.default.removeItem(atPath: folder[name])
      }
      let again = try Program.succeed(arguments)
      #expect(again.error.contains("after/badnet: finished"), "\(again.error)")
      #expect(folder.names("runs/infect").isEmpty && !again.error.contains("infect/badnet: starting"))
      // The first is made where the second is to be made again.
      try FileManager.default.removeItem(atPath: folder["runs/erase"])
      try FileManager.default.removeItem(atPath: folder["records/erase"])
      _ = try Program.succeed(arguments)
      #expect(folder.names("runs/infect/badnet").contains("model.safetensors"))
    }

    /// A cell is finished when its page is there, too.
    @Test func page() throws {
      let file = try folder.write(
        "plan.yaml",
        """
        output: "\(folder["runs"])"
        command: erase
        defaults: {dataset: mnist, data: "\(victim.folder.path)", device: cpu, model: "\(victim.model)", epochs: 1,
          method: fine-tuning, clean-fraction: 0.2}
        axes: {page: {with: {report: true}, without: {}}}
        """)
      _ = try Program.succeed(["sweep", file])
      #expect(try states() == ["with": "finished", "without": "finished"])
      #expect(folder.names("runs/with").contains("report.html"))
      try FileManager.default.removeItem(atPath: folder["runs/with/report.html"])
      #expect(try states() == ["with": "started", "without": "finished"])
      let again = try Program.succeed(["sweep", file])
      #expect(again.error.contains("with: going on") && !again.error.contains("epoch"), "\(again.error)")
      #expect(folder.names("runs/with").contains("report.html"))
    }

    /// A task whose victim another task is making waits for it.
    @Test func sharedStep() throws {
      let arguments = try plan()
      let tasks = try (0..<2).map { try Program.start(arguments + ["--index", "\($0)"]) }
      let results = tasks.map { $0.finish() }
      #expect(results.map(\.status) == [0, 0], "\(results.map(\.error))")
      let epochs = results.map { $0.error.components(separatedBy: "infect/badnet: epoch 4/4").count - 1 }
      #expect(epochs.reduce(0, +) == 1, "\(results.map(\.error))")
    }

    /// An interrupted sweep has its tables all the same. A cell that was begun with other options is left as it is, unless
    /// it failed: then they may have been the reason, and it begins anew.
    @Test func interruptedAndCorrected() throws {
      func arguments(epochs: Int) throws -> [String] {
        let file = try folder.write(
          "plan.yaml",
          """
          output: "\(folder["runs"])"
          defaults: {dataset: mnist, data: "\(victim.folder.path)", device: cpu, architecture: mnist-net, width: 4,
            epochs: \(epochs), batch: 16, no-augment: true}
          axes: {attack: [badnet]}
          """)
        return ["sweep", file]
      }
      let run = try Program.start(arguments(epochs: 10_000))
      #expect(run.wait { folder.text("runs/badnet/events.jsonl").contains("\"checkpoint\"") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGINT)
      let result = run.finish()
      #expect(result.status == 75 && result.output.isEmpty, "\(result.error)")
      #expect(folder.text("runs/results.md").contains("badnet (started)"))
      #expect(folder.names("runs/badnet").contains("checkpoint.safetensors"))
      try Program.fail(64, ["with other options"], arguments(epochs: 2), ignoringOutput: true)
      #expect(try states() == ["badnet": "changed"])
      // As a training that diverged leaves it.
      let record = folder.text("runs/badnet/cell.json")
      try folder.write("runs/badnet/cell.json", record.replacingOccurrences(of: ": 75", with: ": 65"))
      let anew = try Program.succeed(arguments(epochs: 2))
      #expect(anew.error.contains("badnet: starting anew"), "\(anew.error)")
      #expect(try states() == ["badnet": "finished"])
      #expect(folder.text("runs/badnet/log.txt").contains("epoch 2/2"))
    }

    /// Whoever stops or kills a cell's process, and not the sweep, finds the cell as it would after stopping the sweep.
    @Test(arguments: [(Int32(SIGTERM), Int32(75)), (Int32(SIGKILL), Int32(69))]) func childIsStopped(
      signal: Int32, code: Int32
    ) throws {
      let file = try folder.write(
        "long.yaml",
        """
        output: "\(folder["runs"])"
        defaults: {dataset: mnist, data: "\(victim.folder.path)", device: cpu, architecture: mnist-net, width: 4,
          epochs: 10000, batch: 16, no-augment: true}
        axes: {attack: [badnet]}
        """)
      let run = try Program.start(["sweep", file])
      let events = folder["runs/badnet/events.jsonl"]
      func lines() -> [String] {
        (try? String(contentsOfFile: events, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
      }
      #expect(run.wait { lines().contains { $0.contains("\"checkpoint\"") } }, "\(run.error)")
      let start = try #require(JSONSerialization.jsonObject(with: Data(lines()[0].utf8)) as? [String: Any])
      kill(pid_t(try #require(start["process"] as? Int)), signal)
      let result = run.finish()
      #expect(result.status == code && result.error.contains("badnet failed"), "\(result.error)")
      #expect(try states() == ["badnet": "started"])
    }

    /// A stream that the caller closed is not the first file that is opened: the diary of a run would get the log, and a
    /// child its cell's lock as standard input, and lose it.
    @Test func closedStreams() throws {
      let infect =
        Victim.infect(victim.folder) + ["--device", "cpu", "--epochs", "2", "--output", folder["o"]]
      for closing in ["2>&-", "0<&- 2>&-"] {
        #expect(try Program.run(infect, shell: "exec \"$0\" \"$@\" \(closing)").status == 0)
        let events = folder.text("o/events.jsonl")
        #expect(events.split(separator: "\n").allSatisfy { $0.hasPrefix("{") }, "\(events)")
      }
      let closed = try Program.run(["devices"], shell: "exec \"$0\" \"$@\" >&-")
      #expect(closed.status == 74 && closed.error.contains("standard output"), "\(closed.error)")
    }

    @Test func batchScript() throws {
      let arguments = try plan()
      let path = try Program.succeed(
        arguments + [
          "--write-only", "--gpus", "2", "--time", "1:00:00", "--at-once", "3", "--sbatch=--partition=a",
        ]
      ).output.trimmingCharacters(in: .whitespacesAndNewlines)
      let script = try String(contentsOfFile: path, encoding: .utf8)
      for line in [
        "#SBATCH --array=0-3%3", "#SBATCH --gres=gpu:2", "#SBATCH --time=1:00:00",
        "#SBATCH --signal=B:USR1@90",
        "#SBATCH --requeue", "#SBATCH --partition=a",
        // Where they are not quoted, a `#` in a path begins a comment.
        "#SBATCH --chdir=\"\(FileManager.default.currentDirectoryPath)\"",
        "#SBATCH --output=\"\(folder["runs"])/slurm/%A_%a.log\"",
      ] {
        #expect(script.contains("\(line)\n"), "\(line): \(script)")
      }
      // A shell reads back the command line, blanks and accents included.
      let command = try #require(script.split(separator: "\n").first { $0.hasSuffix(" &") }).dropLast(2)
      let words = Process()
      let pipe = Pipe()
      words.executableURL = URL(fileURLWithPath: "/bin/bash")
      words.arguments = ["-c", "printf '%s\\n' \(command)"]
      words.standardOutput = pipe
      try words.run()
      let text = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
      words.waitUntilExit()
      #expect(
        text.split(separator: "\n").dropFirst().map(String.init) == [
          "sweep", folder["plan.yaml"], "--output=\(folder["runs"])", "--set=DATA=\(victim.folder.path)",
        ], "\(text)")
      try Program.fail(
        66, ["no sbatch"], arguments + ["--submit", "slurm"], environment: ["PATH": "/nowhere"])
      try Program.fail(64, ["exclude each other"], arguments + ["--write-only", "--list"])
      // What would change nothing is refused.
      for (words, more) in [
        (["--report and --json"], ["--dry-run", "--json"]),
        (["--report and --json"], ["--write-only", "--report", folder["report.md"]]),
        (["--submit"], ["--list", "--time", "1:00"]), (["--records"], ["--list", "--remake"]),
        (["--jobs"], ["--device", "cpu,opencl:0"]),
      ] { try Program.fail(64, words, arguments + more) }
      try Program.fail(
        64, ["line breaks"], arguments + ["--write-only", "--output", folder["runs\nrm"]])
      // What is finished is not submitted.
      let sbatch = try folder.write("sbatch", "#!/bin/sh\necho 17\n")
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: sbatch)
      _ = try Program.succeed(arguments + ["--index", "1"])
      let submitted = try Program.succeed(
        arguments + ["--submit", "slurm"], environment: ["PATH": folder.path])
      #expect(submitted.output == "17\n")
      #expect(try String(contentsOfFile: path, encoding: .utf8).contains("--array=0,2-3\n"))
      try folder.write("sbatch", "#!/bin/sh\necho no partition >&2; exit 1\n")
      try Program.fail(
        69, ["no partition"], arguments + ["--submit", "slurm"], environment: ["PATH": folder.path])
    }
  }
}
