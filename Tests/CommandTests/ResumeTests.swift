import Foundation
import Testing

extension CommandTests {
  /// Checkpoints of `infect`, and `sweep`.
  @Suite struct Resuming {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func infect(_ output: String, _ device: String, _ more: [String] = []) -> [String] {
      [
        "infect", "--attack", "badnet", "--architecture", "preactresnet18", "--width", "4", "--epochs", "3",
        "--batch", "32", "--seed", "5", "--device", device, "--json", "--output", folder[output],
      ] + victim.data + more
    }

    @Test(arguments: ["cpu", "opencl"]) func interruptedInfection(device: String) throws {
      let whole = try Program.succeed(infect("whole", device))
      let run = try Program.start(infect("part", device))
      #expect(run.wait { run.error.contains("epoch 1/3") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGTERM)
      let stopped = run.finish()
      #expect(stopped.status == 75 && stopped.error.contains("--resume"), "\(stopped.error)")
      #expect(folder.results("part") == ["checkpoint.safetensors"])
      try Program.fail(
        64, ["checkpoint.safetensors", "epochs is 3, not 4"],
        infect("part", device, ["--resume", "--epochs", "4"]))
      let resumed = try Program.succeed(infect("part", device, ["--resume"]))
      #expect(resumed.error.contains("going on from"))
      #expect(folder.results("part") == ["attack.json", "infect.json", "model.safetensors"])
      #expect(folder.bytes("part/model.safetensors") == folder.bytes("whole/model.safetensors"))
      func timeless(_ result: Program.Result) throws -> NSDictionary {
        NSDictionary(dictionary: try result.json().filter { $0.key != "seconds" })
      }
      #expect(try timeless(resumed) == timeless(whole))
      // All is done: the record is printed once more, and nothing is trained.
      let again = try Program.succeed(infect("part", device, ["--resume"]))
      #expect(again.output == resumed.output && !again.error.contains("epoch"))
      // A checkpoint that the process had no time to delete has nothing left to say; a file that is gone has to be made again.
      try folder.write("part/checkpoint.safetensors", "")
      _ = try Program.succeed(infect("part", device, ["--resume"]))
      #expect(!folder.results("part").contains("checkpoint.safetensors"))
      try FileManager.default.removeItem(atPath: folder["part/attack.json"])
      let mended = try Program.succeed(infect("part", device, ["--resume"]))
      #expect(mended.error.contains("attack.json is missing") && mended.error.contains("epoch 3/3"))
      #expect(folder.bytes("part/attack.json") == folder.bytes("whole/attack.json"))
    }

    @Test func anotherDevice() throws {
      let run = try Program.start(infect("part", "cpu"))
      #expect(run.wait { run.error.contains("epoch 1/3") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGTERM)
      #expect(run.finish().status == 75)
      let resumed = try Program.succeed(infect("part", "opencl:0", ["--resume"]))
      #expect(resumed.error.contains("the checkpoint is from cpu: the result will differ by rounding"))
      #expect(folder.results("part") == ["attack.json", "infect.json", "model.safetensors"])
    }

    /// A device that is tuned while a run is interrupted: the run goes on with the kernels that it began with.
    @Test func retunedDevice() throws {
      let cache = folder["cache"]
      let environment = ["PBE_GPU_CACHE": cache]
      let whole = try Program.succeed(infect("whole", "opencl:0"), environment: environment)
      let run = try Program.start(infect("part", "opencl:0"), environment: environment)
      #expect(run.wait { run.error.contains("epoch 1/3") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGTERM)
      #expect(run.finish().status == 75)

      // The tuning that is found here is the untuned choice; other kernels are put in its place.
      _ = try Program.succeed(
        ["tune", "--device", "opencl:0", "--seconds", "1"], environment: environment)
      let name = try #require(
        FileManager.default.contentsOfDirectory(atPath: "\(cache)/tuning").first { $0.hasSuffix(".json") })
      let file = URL(fileURLWithPath: "\(cache)/tuning/\(name)")
      var tuning = try #require(
        try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
      var families = try #require(tuning["families"] as? [String: [String: Any]])
      for name in families.keys where name.hasPrefix("convolution3x3") {
        var parameters = try #require(families[name]?["parameters"] as? [String: Any])
        #expect(parameters["algorithm"] as? String == "registers")
        parameters["algorithm"] = "winograd"
        families[name]?["parameters"] = parameters
      }
      tuning["families"] = families
      try JSONSerialization.data(withJSONObject: tuning).write(to: file)
      let retuned = try Program.succeed(infect("retuned", "opencl:0"), environment: environment)
      #expect(
        folder.bytes("retuned/model.safetensors") != folder.bytes("whole/model.safetensors"),
        "the kernels don't differ: \(retuned.error)")

      let resumed = try Program.succeed(infect("part", "opencl:0", ["--resume"]), environment: environment)
      #expect(!resumed.error.contains("warning"), "\(resumed.error)")
      #expect(folder.bytes("part/model.safetensors") == folder.bytes("whole/model.safetensors"))
      #expect(try resumed.json()["metrics"] as? NSDictionary == whole.json()["metrics"] as? NSDictionary)
    }

    private func erase(_ output: String, _ options: [String]) -> [String] {
      ["erase", victim.model, "--attack", victim.attack, "--seed", "3", "--json"] + victim.data
        + ["--output", folder[output]] + options + (options.contains("--batch") ? [] : ["--batch", "2"])
    }

    /// Wherever it is stopped, as often as time allows, and on every kind of device.
    @Test(arguments: [
      ["--recipe", "auto", "--learning-rate", "0.002", "--device", "cpu"],
      ["--recipe", "auto", "--learning-rate", "0.002", "--device", "opencl"],
      ["--recipe", "paper", "--epochs", "2", "--device", "cpu"],
      [
        "--method", "aft", "--recipe", "paper", "--epochs", "6", "--clean-fraction", "0.5", "--device", "cpu",
      ],
      ["--method", "fine-pruning", "--epochs", "6", "--clean-fraction", "0.5", "--device", "cpu"],
      ["--method", "ft-sam", "--epochs", "6", "--clean-fraction", "0.5", "--device", "cpu"],
      ["--method", "aft", "--clean-fraction", "0.1", "--batch", "16", "--device", "cpu"],
      ["--method", "aft", "--clean-fraction", "0.1", "--batch", "16", "--device", "opencl"],
    ])
    func interruptedErasure(options: [String]) throws {
      let whole = try Program.succeed(erase("whole", options))
      var stops = 0
      for attempt in 1... {
        let run = try Program.start(erase("part", options + ["--resume"]))
        // Lines of the log: the first epoch of this run, then some steps of the next one.
        _ = run.wait { run.error.contains("epoch \(attempt + 1)/") || run.error.contains("loss") }
        Thread.sleep(forTimeInterval: 0.05)
        kill(run.process.processIdentifier, attempt % 2 == 0 ? SIGUSR1 : SIGTERM)
        let result = run.finish()
        if result.status == 0 { break }
        #expect(result.status == 75 && result.error.contains("--resume"), "\(result.error)")
        stops += 1
      }
      #expect(stops >= 1)
      let files = folder.results("whole")
      #expect(folder.results("part") == files && files.contains("report.json"))
      for name in files where name != "report.json" {
        #expect(folder.bytes("part/\(name)") == folder.bytes("whole/\(name)"), "\(name)")
      }
      func timeless(_ value: Any) -> Any {
        if let object = value as? [String: Any] {
          return object.filter { !$0.key.contains("seconds") && !$0.key.contains("per_second") }
            .mapValues(timeless)
        }
        return (value as? [Any])?.map(timeless) ?? value
      }
      let resumed = try Program.succeed(erase("part", options + ["--resume"]))
      #expect(resumed.error.contains("is finished"))
      #expect(
        NSDictionary(dictionary: timeless(try resumed.json()) as? [String: Any] ?? [:])
          == NSDictionary(dictionary: timeless(try whole.json()) as? [String: Any] ?? [:]))
    }

    /// Stopped after the last step, before the results are written: the model is the purified one all the same.
    @Test(arguments: [
      ["--recipe", "auto", "--learning-rate", "0.002"], ["--recipe", "paper", "--epochs", "1"],
      ["--method", "fine-tuning", "--epochs", "2", "--clean-fraction", "0.5"],
      ["--method", "aft", "--clean-fraction", "0.1", "--batch", "16"],
    ])
    func stoppedAtTheEnd(options: [String]) throws {
      let options = options + ["--device", "cpu"]
      let whole = try Program.succeed(erase("whole", options))
      let obstacle = folder["part/report.json"]
      try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
      try Program.fail(73, ["report.json"], erase("part", options))
      try FileManager.default.removeItem(atPath: obstacle)
      let resumed = try Program.succeed(erase("part", options + ["--resume"]))
      #expect(folder.bytes("part/model.safetensors") == folder.bytes("whole/model.safetensors"))
      #expect(try resumed.json()["after"] as? NSDictionary == whole.json()["after"] as? NSDictionary)
    }

    /// A record tells of the model beside it, or there is none.
    @Test func recordOfAnotherRun() throws {
      _ = try Program.succeed(infect("mine", "cpu"))
      let obstacle = folder["mine/attack.json"]
      try FileManager.default.removeItem(atPath: obstacle)
      try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
      try Program.fail(73, ["attack.json"], infect("mine", "cpu", ["--epochs", "4"]))
      try FileManager.default.removeItem(atPath: obstacle)
      try Program.fail(
        64, ["checkpoint belongs to another run", "epochs is 4, not 3"], infect("mine", "cpu", ["--resume"]))
    }

    @Test func cleanModel() throws {
      let result = try Program.succeed(
        infect("clean", "cpu", ["--attack", "none", "--evaluate-every", "2"]))
      let record = try result.json()
      #expect(record["poisoned"] as? Int == 0)
      #expect(try metrics(record["metrics"]).keys.sorted() == ["acc"])
      let history = try #require(record["history"] as? [[String: Any]])
      #expect(history.map { $0["metrics"] != nil } == [false, true, true])
      #expect(folder.results("clean") == ["infect.json", "model.safetensors"])
      let early = try Program.succeed(infect("early", "cpu", ["--stop-at", "0,0"])).json()
      #expect(early["epochs"] as? Int == 1)
      try Program.fail(
        64, ["infect.json", "other options"], infect("early", "cpu", ["--seed", "9", "--resume"]))
      try Program.fail(64, ["--stop-at"], infect("x", "cpu", ["--attack", "none", "--stop-at", "5,5"]))
      try Program.fail(64, ["--stop-at"], infect("x", "cpu", ["--stop-at", "101"]))
      try Program.fail(64, ["--stop-at"], infect("x", "cpu", ["--stop-at", "5", "--evaluate-every", "0"]))
    }

    private func plan(_ more: String = "") throws -> String {
      try folder.write(
        "plan.yaml",
        """
        output: "\(folder["runs"])"
        defaults: {dataset: mnist, data: "${DATA}", architecture: mnist-net, width: 4, epochs: 4, batch: 16,
          device: cpu, augment: true}
        axes:
          attack: {clean: {attack: none}, badnet: {attack: badnet}, broken: {attack: nowhere.json}}
          seed: [0]
        baseline: {attack: clean}
        \(more)
        """)
    }

    private func states(_ arguments: [String]) throws -> [String: String] {
      let listing = try Program.succeed(arguments + ["--list", "--json"]).json()
      let cells = try #require(listing["cells"] as? [[String: Any]])
      return Dictionary(
        uniqueKeysWithValues: cells.map { ($0["name"] as? String ?? "", $0["state"] as? String ?? "") })
    }

    @Test func sweep() throws {
      let arguments = ["sweep", try plan(), "--set", "DATA=\(victim.folder.path)"]
      try Program.fail(64, ["variable DATA"], ["sweep", try plan()])
      #expect(
        try states(arguments)
          == ["clean-seed0": "missing", "badnet-seed0": "missing", "broken-seed0": "missing"])
      // One cell fails, the others are made; the exit code is the failed one's.
      let report = try folder.write("report.md", "# Report\n")
      let first = try Program.run(arguments + ["--report", report])
      #expect(first.status == 66, "\(first.error)")
      #expect(first.error.contains("1 of 3 cells failed") && first.error.contains("nowhere.json"))
      #expect(
        try states(arguments)
          == ["clean-seed0": "finished", "badnet-seed0": "finished", "broken-seed0": "failed"])
      #expect(folder.text("report.md").contains("| badnet | "))
      #expect(folder.text("report.md").contains("Not there yet: broken-seed0 (failed)."))
      #expect(folder.text("runs/results.csv").split(separator: "\n").count == 4)
      // A finished cell is left alone.
      let model = folder.bytes("runs/badnet-seed0/model.safetensors")
      let again = try Program.succeed(arguments + ["--only", "*net-seed?"])
      #expect(again.error.contains("is finished") && !again.error.contains("epoch"), "\(again.error)")
      #expect(folder.bytes("runs/badnet-seed0/model.safetensors") == model)
      // One whose model is gone is not finished.
      try FileManager.default.removeItem(atPath: folder["runs/badnet-seed0/model.safetensors"])
      #expect(try states(arguments)["badnet-seed0"] == "started")
      _ = try Program.succeed(arguments + ["--only", "badnet*"])
      #expect(folder.bytes("runs/badnet-seed0/model.safetensors") == model)
      // With a record kept, the folder may go; --remake makes it again.
      let keeping = arguments + ["--records", folder["records"], "--only", "badnet*"]
      _ = try Program.succeed(keeping)
      #expect(folder.names("records") == ["badnet-seed0.json"])
      let kept = folder.text("records/badnet-seed0.json")
      try FileManager.default.removeItem(atPath: folder["runs/badnet-seed0"])
      #expect(try states(keeping) == ["badnet-seed0": "recorded"])
      #expect(try Program.succeed(keeping).error.contains("its record kept"))
      #expect(folder.names("runs/badnet-seed0").isEmpty && folder.text("records/badnet-seed0.json") == kept)
      // A damaged one is not taken for a run that was never made.
      try folder.write("records/badnet-seed0.json", Array("{".utf8))
      try Program.fail(65, ["badnet-seed0.json", "no record of a cell"], keeping, ignoringOutput: true)
      try folder.write("records/badnet-seed0.json", Array(kept.utf8))
      let script = ["--write-only"]
      #expect(try Program.succeed(keeping + script).error.contains("all 1 runs are finished"))
      #expect(try Program.succeed(keeping + script + ["--remake"]).error.contains("1 of 1 runs"))
      _ = try Program.succeed(keeping + ["--remake"])
      #expect(folder.bytes("runs/badnet-seed0/model.safetensors") == model)
      try Program.fail(64, ["--only"], arguments + ["--only", "x"])
      // Unless the file has other options now.
      try Program.fail(
        64, ["badnet-seed0"],
        ["sweep", try plan("include: [{attack: badnet, options: {epochs: 5}}]")] + arguments.dropFirst(2)
          + ["--only", "badnet*"], ignoringOutput: true)
      try Program.fail(
        65, ["badnet-seed0", "--widht"],
        ["sweep", try plan("include: [{attack: badnet, options: {widht: 5}}]")] + arguments.dropFirst(2))
    }

    /// run.json and events.jsonl, and one process at a time.
    @Test func diary() throws {
      let endless = ["--epochs", "100000", "--learning-rate", "1e-6"]
      let run = try Program.start(infect("o", "cpu", endless))
      #expect(run.wait { run.error.contains("epoch 1/") }, "\(run.error)")
      try Program.fail(73, ["another process is at the run", folder["o"]], infect("o", "cpu", endless))
      kill(run.process.processIdentifier, SIGUSR1)
      #expect(run.finish().status == 75)
      _ = try Program.succeed(infect("p", "cpu"))
      func events(_ name: String) throws -> [[String: Any]] {
        try folder.text("\(name)/events.jsonl").split(separator: "\n").map {
          try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
      }
      let kinds = try events("o").compactMap { $0["event"] as? String }
      #expect(kinds.prefix(3) == ["start", "checkpoint", "epoch"] && kinds.last == "interrupted", "\(kinds)")
      #expect(
        try events("p").compactMap { $0["event"] as? String } == ["start"]
          + Array(repeating: ["checkpoint", "epoch"], count: 3).flatMap { $0 } + ["finished"])
      let manifest = try #require(
        JSONSerialization.jsonObject(with: folder.data("p/run.json")) as? [String: Any])
      #expect((manifest["arguments"] as? [String])?.first == "infect")
      #expect((manifest["device"] as? [String: Any])?["identifier"] as? String == "cpu")
      #expect((manifest["checksums"] as? [String: String])?.keys.sorted() == ["test", "training"])
    }

    /// Ctrl-C ends the sweep and the cell that it is at; another process meanwhile leaves that cell alone.
    @Test(arguments: [SIGINT, SIGTERM]) func interruptedSweep(signal: Int32) throws {
      let arguments = [
        "sweep", try plan("include: [{attack: badnet, options: {epochs: 100000, learning-rate: 1e-6}}]"),
        "--set", "DATA=\(victim.folder.path)", "--only", "badnet*",
      ]
      let run = try Program.start(arguments)
      #expect(run.wait { run.error.contains("epoch 2/") }, "\(run.error)")
      #expect(try states(arguments) == ["badnet-seed0": "running"])
      let other = try Program.succeed(arguments)
      #expect(other.error.contains("another process is at it"))
      kill(run.process.processIdentifier, signal)
      let result = run.finish(seconds: 60)
      #expect(result.status == 75 && !result.endedBySignal, "\(result.error)")
      #expect(try states(arguments) == ["badnet-seed0": "started"])
      #expect(folder.names("runs/badnet-seed0").contains("checkpoint.safetensors"))
      let next = try Program.start(arguments)
      #expect(next.wait { next.error.contains("going on from") }, "\(next.error)")
      kill(next.process.processIdentifier, signal)
      #expect(next.finish(seconds: 60).status == 75)
    }
  }
}
