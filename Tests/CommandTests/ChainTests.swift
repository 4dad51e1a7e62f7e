import Foundation
import Testing

extension CommandTests {
  /// The job from end to end on a small data set.
  @Suite struct Chain {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func object(_ path: String) throws -> [String: Any] {
      let data = try #require(FileManager.default.contents(atPath: path), "\(path) is missing")
      return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func infectAndEvaluate() throws {
      #expect(victim.folder.results("infected") == ["attack.json", "infect.json", "model.safetensors"])
      let record = try victim.infection.json()
      #expect(record["images"] as? Int == 400)
      #expect(record["poisoned"] as? Int == 40)
      let infected = try metrics(record["metrics"])
      #expect((infected["acc"] ?? 0) > 0.5, "the data are there to be learned: \(infected)")
      #expect((infected["asr"] ?? 0) > 0.5, "and so is the trigger: \(infected)")
      #expect(infected["ra"] != nil && infected["asr_all_images"] != nil)
      #expect(infected["asr_without_trigger"] != nil)

      let evaluated = try Program.succeed(victim.evaluate + ["--attack", victim.attack]).json()
      #expect(try metrics(evaluated) == infected)
      #expect(evaluated["images"] as? Int == 150)
      // The batch size is no part of the result, nor is the device but for rounding.
      let small = try Program.succeed(victim.evaluate + ["--attack", victim.attack, "--batch", "7"]).json()
      #expect(try metrics(small) == infected)
      let onOpenCL = try Program.succeed(
        victim.evaluate + ["--attack", victim.attack, "--device", "opencl"]
      ).json()
      for (name, value) in try metrics(onOpenCL) {
        #expect(abs(value - (infected[name] ?? -1)) < 0.02, "\(name)")
      }
    }

    /// The number of threads changes no bit, which `sweep --jobs` shares out.
    @Test func sameBytesOnAnyNumberOfThreads() throws {
      for threads in ["1", "2", "5"] {
        _ = try Program.succeed(
          [
            "infect", "--attack", "blend", "--architecture", "preactresnet18", "--width", "16", "--epochs",
            "1",
          ]
            + ["--device", "cpu", "--limit", "200", "--output", folder["threads-\(threads)"]] + victim.data,
          environment: ["PBE_GPU_THREADS": threads])
        #expect(
          folder.bytes("threads-\(threads)/model.safetensors") == folder.bytes("threads-1/model.safetensors"))
      }
      #expect(folder.results("threads-1").contains("model.safetensors"))
    }

    /// Options reach the defense, in its units.
    @Test func optionsBecomeSettings() throws {
      let record = try Program.succeed(
        victim.erase + [
          "--output", folder["settings"], "--epsilon", "24", "--step-size", "2", "--pgd-steps", "1", "--clip",
          "--initial-fraction", "0.2", "--keep-rates", "0.3,0.4", "--adversarial-batches", "3", "--batch",
          "50",
          "--learning-rate", "0.02", "--schedule", "cosine", "--momentum", "0.8", "--nesterov",
          "--weight-decay", "0.001", "--no-shuffle", "--no-augment",
        ]
      ).json()
      let settings = try #require(record["settings"] as? [String: Any])
      let defense = try #require(settings["defense"] as? [String: Any])
      let tuning = try #require(defense["tuning"] as? [String: Any])
      let attack = try #require(tuning["attack"] as? [String: Any])
      func number(_ object: [String: Any], _ key: String) -> Double { object[key] as? Double ?? .nan }
      for (object, key, wanted) in [
        (attack, "epsilon", 24.0 / 255), (attack, "step_size", 2.0 / 255), (attack, "steps", 1),
        (attack, "clip", 1), (attack, "random_start", 0), (defense, "initial_fraction", 0.2),
        (defense, "adversarial_batches", 3), (defense, "epochs_per_step", 1), (tuning, "batch", 50),
        (tuning, "learning_rate", 0.02), (tuning, "momentum", 0.8), (tuning, "nesterov", 1),
        (tuning, "weight_decay", 0.001), (tuning, "shuffles", 0), (tuning, "seed", 3),
      ] {
        #expect(abs(number(object, key) - wanted) < 1e-7, "\(key): \(object[key] ?? "none")")
      }
      #expect(defense["keep_rates"] as? [Double] == [0.3, 0.4])
      #expect(tuning["schedule"] as? String == "cosine" && tuning["augmentation"] == nil)
    }

    @Test func sameSeedSameBytes() throws {
      let again = try Program.succeed(
        Victim.infect(victim.folder) + ["--device", "cpu", "--json", "--output", folder["again"]])
      #expect(folder.bytes("again/model.safetensors") == victim.folder.bytes("infected/model.safetensors"))
      #expect(folder.bytes("again/attack.json") == victim.folder.bytes("infected/attack.json"))
      func timeless(_ result: Program.Result) throws -> NSDictionary {
        NSDictionary(dictionary: try result.json().filter { $0.key != "seconds" })
      }
      #expect(try timeless(again) == timeless(victim.infection))
      let other = try Program.succeed(
        Victim.infect(victim.folder) + ["--device", "cpu", "--seed", "8", "--output", folder["other"]])
      #expect(other.output.contains("infected"))
      #expect(folder.bytes("other/model.safetensors") != folder.bytes("again/model.safetensors"))
    }

    @Test func progressive() throws {
      let arguments =
        victim.erase + ["--attack", victim.attack, "--keep-rates", "0.3,0.6", "--quiet"]
      let result = try Program.succeed(arguments + ["--output", folder["a"]])
      #expect(result.error.isEmpty)
      let record = try result.json()
      #expect(
        NSDictionary(dictionary: record) == NSDictionary(dictionary: try object(folder["a/report.json"])))
      #expect(try metrics(record["before"]) == metrics(victim.infection.json()["metrics"]))
      #expect(try metrics(record["after"]).count == 5)
      #expect(record["der"] is Double)
      #expect((record["steps"] as? [Any])?.count == 3)
      let files =
        ["agreement.csv", "model.safetensors", "report.json"] + (0..<3).map { "step-\($0).safetensors" }
      #expect(folder.results("a") == files)

      let rows = folder.text("a/agreement.csv").split(separator: "\n").map {
        $0.split(separator: ",", omittingEmptySubsequences: false)
      }
      #expect(
        rows.first == [
          "index", "label", "agreement", "kept", "probability", "suggested", "answer", "poisoned",
        ])
      #expect(rows.count { $0.last == "1" } == 40, "a tenth of 400")
      #expect(rows.count == 401)
      for (index, row) in rows.dropFirst().enumerated() {
        #expect(row.count == 8 && row[0] == "\(index)" && (0...9).contains(Int(row[1]) ?? -1))
        #expect((-0.001...1.001).contains(Double(row[2]) ?? -1))
        #expect((0...1).contains(Double(row[4]) ?? -1) && ["0", "1"].contains(row[5]))
        #expect((0...9).contains(Int(row[6]) ?? -1))
        #expect(row[3].split(separator: " ").allSatisfy { ["0", "1", "2"].contains($0) })
      }
      let kept = rows.dropFirst().count { $0[3].contains("2") }
      #expect(kept == 240, "60% of 400")

      // The model that was written is the model that was measured.
      let evaluated = try Program.succeed(
        ["evaluate", folder["a/model.safetensors"]] + victim.data
          + ["--device", "cpu", "--json", "--attack", victim.attack]
      ).json()
      #expect(try metrics(evaluated) == metrics(record["after"]))

      _ = try Program.succeed(arguments + ["--output", folder["b"]])
      for file in files where file != "report.json" {
        #expect(folder.bytes("a/\(file)") == folder.bytes("b/\(file)"))
      }
    }

    @Test func fineTuningWithoutAttackFile() throws {
      let result = try Program.succeed(
        victim.erase(by: "aft") + ["--clean-fraction", "0.2", "--output", folder["aft"]])
      let record = try result.json()
      for key in ["before", "after"] { #expect(try metrics(record[key]).keys.sorted() == ["acc"]) }
      #expect(record["der"] == nil)
      #expect(folder.results("aft") == ["model.safetensors", "report.json", "step-0.safetensors"])
      // The log is plain where nobody watches.
      #expect(!result.error.isEmpty)
      #expect(!result.error.contains("\u{1B}") && !result.error.contains("\r"))
    }

    /// With the poison that the attack file tells, also where the method has clean images only.
    @Test func relapse() throws {
      for method in ["pbe", "aft", "fine-tuning"] {
        let erase = method == "pbe" ? victim.erase : victim.erase(by: method)
        let options = ["--relapse", "5", "--attack", victim.attack]
        let record = try Program.succeed(erase + options + ["--output", folder[method]]).json()
        #expect(try metrics(record["relapse"]).count == 5)
        let evaluated = try Program.succeed(
          ["evaluate", folder["\(method)/model.safetensors"]] + victim.data
            + ["--device", "cpu", "--json", "--attack", victim.attack]
        ).json()
        #expect(try metrics(evaluated) == metrics(record["after"]), "the model is the one from before")
      }
      let output = ["--output", folder["o"]]
      try Program.fail(64, ["--relapse"], victim.erase + ["--relapse", "5"] + output)
      try Program.fail(
        65, ["--relapse", "40"], victim.erase + ["--relapse", "41", "--attack", victim.attack] + output)
      #expect(folder.names("o").isEmpty)
    }

    /// An option that would change nothing is refused.
    @Test func optionsOfOtherMethods() throws {
      let erase = ["erase", victim.model] + victim.data + ["--device", "cpu", "--output", folder["o"]]
      for (options, name) in [
        (["--epochs", "3"], "--epochs"), (["--keep-rates", "0.5"], "--keep-rates"),
        (["--method", "aft", "--initial-fraction", "0.1"], "--initial-fraction"),
        (["--method", "aft", "--recipe", "paper", "--keep-rates", "0.5"], "--keep-rates"),
        (["--method", "aft", "--recipe", "paper", "--adversarial-batches", "1"], "--adversarial-batches"),
        (["--method", "aft", "--epochs", "3"], "--epochs"),
        (["--method", "aft", "--adversarial-epochs", "1"], "--adversarial-epochs"),
        (["--method", "aft", "--without", "band"], "--without"),
        (["--method", "aft", "--clip"], "adversarial"),
        (["--method", "ft-sam", "--adversarial-epochs", "1"], "--adversarial-epochs"),
        (["--epsilon", "8"], "adversarial examples"),
        (["--method", "ft-sam", "--clip"], "adversarial"),
        (["--method", "fine-tuning", "--recipe", "auto"], "--recipe"), (["--clean", folder.path], "--clean"),
        (["--recipe", "paper", "--without", "band"], "--without"),
      ] {
        try Program.fail(64, [name], erase + options)
      }
      #expect(folder.names("o").isEmpty)
    }

    @Test func wholeChainOnOpenCL() throws {
      let infected = try Program.succeed(
        Victim.infect(victim.folder) + ["--device", "opencl", "--json", "--output", folder["infected"]]
      ).json()
      let (there, here) = (try metrics(infected["metrics"]), try metrics(victim.infection.json()["metrics"]))
      for name in ["acc", "asr"] { #expect(abs((there[name] ?? -1) - (here[name] ?? -1)) < 0.1, "\(name)") }
      let common = [
        "erase", folder["infected/model.safetensors"], "--attack", folder["infected/attack.json"], "--json",
        "--recipe", "paper", "--epochs", "1", "--keep-rates", "0.5",
      ]
      let erased = try Program.succeed(
        common + victim.data + ["--device", "opencl", "--output", folder["opencl"]]
      ).json()
      let onCPU = try Program.succeed(common + victim.data + ["--device", "cpu", "--output", folder["cpu"]])
        .json()
      for (name, value) in try metrics(erased["after"]) {
        #expect(abs(value - (try metrics(onCPU["after"])[name] ?? -1)) < 0.1, "\(name)")
      }
    }
  }
}
