import Foundation
import Testing

extension CommandTests {
  /// `inspect`, `observe`, `calibrate` and `theorem`.
  @Suite struct Analysis {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private var quick: [String] {
      ["--device", "cpu", "--images", "60", "--epsilon", "9,25", "--pgd-steps", "3"]
    }

    @Test func inspectsWithoutTrigger() throws {
      let command = ["inspect", victim.model] + victim.data + quick
      let result = try Program.succeed(command + ["--json", "--output", folder["i"]])
      #expect(result.output == folder.text("i/inspection.json"))
      let record = try result.json()
      #expect(record["images"] as? Int == 60 && record["attack"] == nil && record["verdict"] != nil)
      let model = try #require(record["model"] as? [String: Any])
      let findings = try #require(model["findings"] as? [String: Any])
      let budgets = try #require(findings["budgets"] as? [[String: Any]])
      #expect(budgets.count == 5)
      for budget in budgets {
        let matrix = try #require(budget["matrix"] as? [[Int]])
        #expect(matrix.count == 10 && matrix.flatMap { $0 }.reduce(0, +) == 60)
        #expect(budget["target_share"] == nil && budget["comparison"] == nil)
      }
      #expect(folder.names("i").count == 6 && folder.text("i/model-9-linf.svg").contains("<desc"))
      let printed = try Program.succeed(command).output
      #expect(printed.contains("model: no verdict; most likely target"))
      #expect(printed.contains("25 Linf") && printed.contains("the calibration is of fashion-mnist"))
      // What an earlier inspection left is gone, and nothing else.
      try folder.write("i/benign-4-linf.svg", Array("<svg/>".utf8))
      try folder.write("i/model-notes.svg", Array("<svg/>".utf8))
      _ = try Program.succeed(
        ["inspect", victim.model] + victim.data + ["--device", "cpu", "--images", "60", "--epsilon", "4"]
          + ["--epsilon-l2", "2", "--output", folder["i"]])
      let names = folder.names("i")
      #expect(names.contains("model-4-linf.svg") && names.contains("model-notes.svg"))
      #expect(!names.contains("model-9-linf.svg") && !names.contains("benign-4-linf.svg"), "\(names)")
      // The same seed, the same numbers.
      #expect(try Program.succeed(command + ["--json"]).output == result.output)
    }

    @Test func inspectsWithAttack() throws {
      let command =
        ["inspect", victim.model] + victim.data + quick + [
          "--attack", victim.attack, "--benign", victim.model, "--purified", victim.model, "--json",
        ]
      let record = try Program.succeed(command).json()
      #expect((record["attack"] as? [String: Any])?["target"] as? Int == 3)
      for name in ["model", "benign", "purified"] {
        let model = try #require(record[name] as? [String: Any])
        let findings = try #require(model["findings"] as? [String: Any])
        #expect((findings["asr"] as? Double ?? 0) > 0.5)
        let budgets = try #require(findings["budgets"] as? [[String: Any]])
        for budget in budgets {
          let share = try #require(budget["target_share"] as? Double)
          #expect((0...1).contains(share))
          let comparison = try #require(budget["comparison"] as? [String: Any])
          #expect((comparison["images"] as? Int ?? 0) > 40)
          // Against itself nothing differs.
          if name != "benign" {
            let chi = try #require(budget["chi_square_against_benign"] as? [String: Any])
            #expect(chi["statistic"] as? Double == 0)
          }
        }
      }
    }

    @Test func wrongInspections() throws {
      let command = ["inspect", victim.model] + victim.data
      for options in [
        ["--epsilon", "0"], ["--epsilon", "256"], ["--epsilon", "1,1"], ["--epsilon", "x"],
        ["--images", "0"],
        ["--epsilon-l2=-1"], ["--pgd-steps", "0"],
      ] { try Program.fail(64, [], command + options) }
      try Program.fail(66, ["nothing.json"], command + ["--calibration", folder["nothing.json"]])
      try folder.write("wrong.json", "{}")
      try Program.fail(65, ["wrong.json", "calibration"], command + ["--calibration", folder["wrong.json"]])
      try Program.fail(66, ["nothing"], command + ["--benign", folder["nothing"]])
    }

    /// A folder with one infected model: inspected once, and too little for a figure or a calibration.
    @Test func observesAndCalibrates() throws {
      let command =
        ["observe", victim.folder.path] + victim.data + quick + ["--output", folder["o"]]
      let first = try Program.succeed(command)
      #expect(first.output.contains("infected") && folder.names("o") == ["infected.json"])
      let bytes = folder.bytes("o/infected.json")
      let second = try Program.succeed(command)
      #expect(second.error.contains("is inspected") && folder.bytes("o/infected.json") == bytes)
      #expect(first.output == second.output)
      // By another attack it is another inspection.
      let attack = folder["models/m/attack.json"]
      try FileManager.default.createDirectory(atPath: folder["models/m"], withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: victim.model, toPath: folder["models/m/model.safetensors"])
      let other = ["observe", folder["models"]] + victim.data + quick + ["--output", folder["q"], "--json"]
      func kind() throws -> [String: Any]? {
        (try Program.succeed(other).json()["models"] as? [[String: Any]])?.first?["attack"] as? [String: Any]
      }
      #expect(try kind() == nil)
      try FileManager.default.copyItem(atPath: victim.attack, toPath: attack)
      let known = try #require(try kind())
      #expect(known["name"] as? String == "badnet" && known["target"] as? Int == 3)
      try FileManager.default.removeItem(atPath: attack)
      try folder.write("models/m/attack.json", #"{"attack": "badnet", "target": 3, "row": 0}"#)
      #expect(try kind()?["checksum"] as? String != known["checksum"] as? String)
      try Program.fail(65, ["every target"], command + ["--figure", folder["f"]])
      #expect(!folder.names("").contains("f"), "told before anything is inspected")
      // A purified model is not a benign one.
      _ = try Program.succeed(victim.erase(by: "aft") + ["--output", folder["models/purified"]])
      let observed = try Program.succeed(other)
      #expect(observed.error.contains("purified: is purified, and left out"))
      let models = try observed.json()["models"] as? [Any]
      #expect(models?.count == 1)
      try Program.fail(
        66, ["model.safetensors"], ["observe", folder.path] + victim.data + ["--output", folder["p"]])
      try Program.fail(65, ["at least 6"], ["calibrate", folder["o"], "--output", folder["c.json"]])
      try Program.fail(
        64, ["folder of inspections"], ["calibrate", folder["o"], "--output", folder["o/c.json"]])
      // By another name as well.
      try FileManager.default.createSymbolicLink(atPath: folder["link"], withDestinationPath: folder["o"])
      try Program.fail(
        64, ["folder of inspections"], ["calibrate", folder["o"], "--output", folder["link/c.json"]])
      try folder.write("o/other.json", "[]")
      try Program.fail(
        65, ["other.json", "no inspection"], ["calibrate", folder["o"], "--output", folder["c.json"]])
      try Program.fail(
        66, ["none", "no such folder"], ["calibrate", folder["none"], "--output", folder["c.json"]])
      #expect(!folder.names("").contains("c.json"))
    }

    /// Names are anybody's to choose: a table does not cut them, and a terminal gets no control characters. JSON stays JSON.
    @Test func oddNames() throws {
      let name = "mode\u{301}le-😀😀-seed12"
      for odd in ["a\u{1b}[31m\u{7f}", name] {
        try FileManager.default.createDirectory(
          atPath: folder["bank/\(odd)"], withIntermediateDirectories: true)
        try FileManager.default.copyItem(
          atPath: victim.model, toPath: folder["bank/\(odd)/model.safetensors"])
      }
      let arguments =
        ["observe", folder["bank"]] + victim.data + ["--images", "5", "--epsilon", "2", "--device", "cpu"]
      let table = try Program.succeed(arguments + ["--output", folder["o"]])
      #expect(table.output.contains(name) && table.output.contains(#"a\u{1b}[31m\u{7f}"#), "\(table.output)")
      let json = try Program.succeed(arguments + ["--output", folder["j"], "--json"])
      for text in [table.output, table.error, json.output] {
        #expect(!text.unicodeScalars.contains { $0.value == 0x1b || $0.value == 0x7f })
      }
      let models = try #require(json.json()["models"] as? [[String: Any]])
      #expect(Set(models.compactMap { $0["name"] as? String }) == [name, "a\u{1b}[31m\u{7f}"])
    }

    @Test func oneBound() throws {
      let record = try Program.succeed([
        "theorem", "--strength", "1", "--trigger-norm", "1", "--margin", "4", "--competitors", "9", "--json",
      ]).json()
      let bounds = try #require(record["bounds"] as? [[String: Any]])
      #expect(bounds.count == 1 && record["softmax"] == nil)
      #expect(abs((bounds[0]["bound"] as? Double ?? 0) - 0.3263) < 5e-5)
      for options in [
        ["--strength", "1"], ["--strength=-1", "--trigger-norm", "1", "--margin", "0"], ["--classes", "1"],
        ["--classes", "3", "--competitors", "2"], ["--model", "m"], ["--benign", "m"],
        ["--strength", "nan", "--trigger-norm", "1", "--margin", "0"],
        ["--strength", "inf", "--trigger-norm", "1", "--margin", "0"], ["--classes", "30000"],
        ["--test-limit", "5"], ["--epsilon", "3"], ["--device", "cpu"],
        ["--strength", "1", "--trigger-norm", "1", "--margin", "0", "--plot", "p.svg"],
        ["--model", victim.model, "--attack", victim.attack, "--classes", "10"] + victim.data,
        ["--model", victim.model, "--attack", victim.attack, "--test-limit", "0"] + victim.data,
      ] { try Program.fail(64, [], ["theorem"] + options) }
    }

    @Test func boundsBesideMeasurements() throws {
      let output = try Program.succeed(["theorem", "--plot", folder["p.svg"]]).output
      for part in ["0.3827", "PGD-40", "violated", "holds", "|P| 3", "does not refute"] {
        #expect(output.contains(part), "\(part)")
      }
      #expect(folder.text("p.svg").contains("softmax regression"))
      let deep = try Program.succeed(
        ["theorem", "--model", victim.model, "--attack", victim.attack] + victim.data + quick
          + ["--plot", folder["q.svg"], "--json"]
      ).json()
      let rows = try #require((deep["deep"] as? [String: Any])?["rows"] as? [[String: Any]])
      #expect(rows.count == 4 && folder.text("q.svg").contains("deep model"))
      // Of a folder of images, with the options that poison prints for a shell.
      let line = try Program.succeed(
        ["poison"] + victim.data + [
          "--attack", "badnet", "--format", "png", "--output", folder["set"], "--device", "cpu",
        ]
      ).output
      #expect(line.contains("--data '\(folder["set"])' --dataset folder --grey --image-size 28"), "\(line)")
      let pictures = ["--data", folder["set"], "--dataset", "folder", "--grey", "--image-size", "28"]
      let again = try Program.succeed(
        ["theorem", "--model", victim.model, "--attack", victim.attack, "--json"] + pictures + quick
      ).json()
      #expect(((again["deep"] as? [String: Any])?["rows"] as? [Any])?.count == 4)
      try Program.fail(64, ["--grey"], ["theorem", "--grey"])
    }
  }
}
