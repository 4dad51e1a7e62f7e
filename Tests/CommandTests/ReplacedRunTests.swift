import Foundation
import PBE
import Testing

extension CommandTests {
  /// A folder that holds one run after another: what is there is of the latest one.
  @Suite struct ReplacedRuns {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func infect(_ output: String, _ more: [String] = []) -> [String] {
      Victim.infect(victim.folder) + ["--device", "cpu", "--json", "--output", folder[output]] + more
    }

    @Test func otherFiles() throws {
      _ = try Program.succeed(
        victim.erase + ["--attack", victim.attack, "--report", "--output", folder["o"]])
      let first = folder.results("o")
      #expect(first.contains("agreement.csv") && first.contains("step-3.safetensors"))
      #expect(first.contains("sheets.json") && first.contains("report.html"))
      // A picture of the user's is none of a run's.
      try folder.write("o/sheet-mine.png", "a picture")
      let second = try Program.succeed(victim.erase(by: "aft") + ["--output", folder["o"]])
      #expect(second.error.contains("replacing the files of an earlier run"))
      #expect(
        folder.results("o") == ["model.safetensors", "report.json", "sheet-mine.png", "step-0.safetensors"])
      // A page for a run that did not look at the images says so.
      let page = try Program.succeed(
        victim.erase(by: "aft") + ["--resume", "--report", "--output", folder["o"]])
      #expect(page.error.contains("no contact sheets"), "\(page.error)")
      let model = folder.bytes("o/model.safetensors")
      try Program.fail(
        64, ["model.safetensors", "being read"],
        ["report", folder["o"], "--output", folder["o/model.safetensors"]])
      #expect(folder.bytes("o/model.safetensors") == model)

      _ = try Program.succeed(infect("i", ["--epochs", "1"]))
      #expect(folder.results("i").contains("attack.json"))
      _ = try Program.succeed(
        ["infect"] + victim.data + [
          "--attack", "none", "--architecture", "mnist-net", "--width", "4", "--epochs", "1", "--device",
          "cpu",
          "--output", folder["i"],
        ])
      #expect(folder.results("i") == ["infect.json", "model.safetensors"])
    }

    /// The new run was interrupted: its checkpoint counts, not the record of the old one.
    @Test func interrupted() throws {
      let long = ["--epochs", "40"]
      _ = try Program.succeed(infect("whole", long))
      _ = try Program.succeed(infect("o", ["--epochs", "1"]))
      let run = try Program.start(infect("o", long))
      #expect(run.wait { run.error.contains("epoch 1/40") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGTERM)
      #expect(run.finish().status == 75)
      #expect(folder.results("o") == ["attack.json", "checkpoint.safetensors"])
      let resumed = try Program.succeed(infect("o", long + ["--resume"]))
      #expect(resumed.error.contains("going on from"))
      #expect(folder.bytes("o/model.safetensors") == folder.bytes("whole/model.safetensors"))
    }

    /// What a run that was started over by mistake leaves of its first steps is there when it goes on after all.
    @Test func startedOver() throws {
      let arguments =
        ["erase", victim.model] + victim.data + [
          "--device", "cpu", "--recipe", "paper", "--epochs", "60", "--seed", "3", "--output",
        ]
      _ = try Program.succeed(arguments + [folder["whole"]])
      let first = try Program.start(arguments + [folder["o"]])
      #expect(first.wait { folder.names("o").contains("step-1.safetensors") }, "\(first.error)")
      kill(first.process.processIdentifier, SIGTERM)
      #expect(first.finish().status == 75)
      let second = try Program.start(arguments + [folder["o"]])
      #expect(second.wait { second.error.contains("will be replaced") }, "\(second.error)")
      kill(second.process.processIdentifier, SIGKILL)
      _ = second.finish()
      _ = try Program.succeed(arguments + [folder["o"], "--resume"])
      #expect(folder.results("o") == folder.results("whole"))
      for step in 0..<4 {
        let name = "step-\(step).safetensors"
        #expect(folder.bytes("o/\(name)") == folder.bytes("whole/\(name)"), "\(name)")
      }
    }

    /// A run on images that carry their triggers already, or on a model that takes its images otherwise, is another run.
    @Test func anotherRun() throws {
      let file = try Checkpoint.load(victim.model)
      try Safetensors.write(file.state, to: folder["plain.safetensors"])
      let plain = ["erase", folder["plain.safetensors"]] + victim.erase.dropFirst(2)
      let arguments =
        plain + [
          "--architecture", "mnist-net", "--attack", victim.attack, "--mean", "0.1", "--output", folder["o"],
        ]
      _ = try Program.succeed(arguments + ["--std", "0.9"])
      for other in [["--std", "0.9", "--poisoned"], ["--std", "0.8"]] {
        try Program.fail(64, ["other options or data"], arguments + other + ["--resume"])
      }
      _ = try Program.succeed(arguments + ["--std", "0.9", "--resume"])
    }

    /// What can't be done is told before anything is deleted; a part that is left out leaves a step's number free.
    @Test func keepsWhatItCannotReplace() throws {
      _ = try Program.succeed(victim.erase(by: "fine-tuning") + ["--output", folder["o"]])
      let model = folder.bytes("o/model.safetensors")
      try Program.fail(
        65, ["16 are needed"],
        ["erase", victim.model] + victim.data + [
          "--method", "aft", "--clean-fraction", "0.02", "--device", "cpu", "--output", folder["o"],
        ])
      #expect(folder.bytes("o/model.safetensors") == model)
      let run = try Program.succeed(
        ["erase", victim.model] + victim.data + [
          "--attack", victim.attack, "--without", "progression", "--batch", "2", "--learning-rate", "0.002",
          "--device", "cpu", "--json", "--output", folder["p"],
        ])
      let steps = try #require(run.json()["steps"] as? [[String: Any]]).compactMap { $0["step"] as? Int }
      #expect(steps.first == 0 && steps.last ?? 0 >= steps.count)
      #expect(
        folder.results("p").filter { $0.hasPrefix("step-") } == steps.map { "step-\($0).safetensors" })
    }

    /// What is read must not be what is replaced.
    @Test func itsOwnModel() throws {
      _ = try Program.succeed(victim.erase(by: "aft") + ["--output", folder["o"]])
      for name in ["step-0", "model"] {
        let before = folder.bytes("o/\(name).safetensors")
        try Program.fail(
          64, ["\(name).safetensors", "--output"],
          ["erase", folder["o/\(name).safetensors"]] + victim.data + [
            "--method", "fine-tuning", "--epochs", "1", "--device", "cpu", "--output", folder["o"],
          ])
        #expect(folder.bytes("o/\(name).safetensors") == before)
      }
    }

    /// Everything that decides the result belongs to the run.
    @Test func otherOptions() throws {
      _ = try Program.succeed(infect("o", ["--epochs", "3", "--stop-at", "1,0"]))
      let more = ["--epochs", "3", "--resume"]
      try Program.fail(64, ["other options"], infect("o", more))
      try Program.fail(64, ["other options"], infect("o", more + ["--stop-at", "1,0", "--test-limit", "9"]))
      try Program.fail(
        64, ["other options"], infect("o", more + ["--stop-at", "1,0", "--evaluate-every", "2"]))
      #expect(
        try Program.succeed(infect("o", more + ["--stop-at", "1,0"])).error.contains("the run is finished"))
    }

    /// With `--clean`, the defense has other images than the relapse.
    @Test func relapseOnOtherImages() throws {
      let other = try Folder()
      try Victim.write(300, "train", to: other)
      try Victim.write(150, "t10k", to: other)
      func erase(_ data: String) -> [String] {
        [
          "erase", victim.model, "--data", data, "--dataset", "mnist", "--device", "cpu", "--quiet",
          "--method", "fine-tuning", "--epochs", "1", "--clean", victim.folder.path,
          "--attack", victim.attack, "--relapse", "5", "--output", folder["o"],
        ]
      }
      _ = try Program.succeed(erase(victim.folder.path))
      _ = try Program.succeed(erase(victim.folder.path) + ["--resume"])
      try Program.fail(64, ["report.json", "other options or data"], erase(other.path) + ["--resume"])
    }

    /// What can't be read tells of no finished run.
    @Test(arguments: ["infect.json", "model.safetensors"]) func damaged(_ name: String) throws {
      let options = ["--epochs", "1"]
      _ = try Program.succeed(infect("o", options))
      let model = folder.bytes("o/model.safetensors")
      try folder.write("o/\(name)", Array(folder.data("o/\(name)").dropLast(5)))
      let again = try Program.succeed(infect("o", options + ["--resume"]))
      #expect(again.error.contains("\(name) is damaged") && again.error.contains("epoch 1/1"))
      _ = try again.json()
      #expect(folder.bytes("o/model.safetensors") == model)
    }

    /// Nor does a record whose table is gone.
    @Test func missingTable() throws {
      let arguments =
        ["erase", victim.model] + victim.data + [
          "--attack", victim.attack, "--batch", "2", "--without", "progression", "--learning-rate", "0.002",
          "--device", "cpu", "--json", "--output", folder["t"],
        ]
      _ = try Program.succeed(arguments)
      let table = folder.bytes("t/agreement.csv")
      unlink(folder["t/agreement.csv"])
      try Program.fail(64, ["other options"], arguments + ["--seed", "1", "--resume"])
      #expect(
        try Program.succeed(arguments + ["--resume"]).error.contains("agreement.csv is missing"))
      #expect(folder.bytes("t/agreement.csv") == table)
    }

    /// A picture counts by what is in it, wherever it lies.
    @Test func otherPicture() throws {
      func arguments(_ picture: String) -> [String] {
        infect("o", ["--epochs", "1", "--attack", "blend", "--parameter", "pattern=\(folder[picture])"])
      }
      func picture(_ name: String, _ level: UInt8) throws {
        try folder.write(name, Array("P5 2 2 255\n".utf8) + [level, 0, level, 0])
      }
      try picture("a.pgm", 200)
      try picture("b.pgm", 200)
      _ = try Program.succeed(arguments("a.pgm"))
      #expect(try Program.succeed(arguments("b.pgm") + ["--resume"]).error.contains("the run is finished"))
      try picture("a.pgm", 100)
      try Program.fail(64, ["other options"], arguments("a.pgm") + ["--resume"])
    }

    /// A page that can't be written costs nothing but the page.
    @Test func pageInTheWay() throws {
      try FileManager.default.createDirectory(
        atPath: folder["o/report.html"], withIntermediateDirectories: true)
      let result = try Program.run(victim.erase(by: "aft") + ["--report", "--output", folder["o"]])
      #expect(result.status == 73 && result.error.contains("report.html"), "\(result.error)")
      _ = try metrics(result.json()["after"])
      let events = folder.text("o/events.jsonl")
      #expect(events.contains("\"failed\"") && !events.contains("\"finished\""), "\(events)")
      // Nor do results that can't be printed cost the page.
      let closed = try Program.run(
        victim.erase(by: "aft") + ["--report", "--output", folder["p"]], shell: "exec \"$0\" \"$@\" >&-")
      #expect(closed.status == 74 && folder.names("p").contains("report.html"), "\(closed.error)")
      #expect(folder.text("p/events.jsonl").contains("\"finished\""))
    }

    /// The clean images' classes are those of the data set, by name: folders alone give them numbers.
    @Test func cleanImagesOfOtherClasses() throws {
      func fill(_ set: String, _ classes: [String]) throws {
        for (place, name) in classes.enumerated() {
          try FileManager.default.createDirectory(
            atPath: folder["\(set)/\(name)"], withIntermediateDirectories: true)
          for image in 0..<20 {
            let pixels = (0..<64).map { UInt8(truncatingIfNeeded: 60 * place + 3 * image + $0) }
            try folder.write("\(set)/\(name)/\(image).pgm", Array("P5 8 8 255\n".utf8) + pixels)
          }
        }
      }
      try fill("all", ["a", "b", "c"])
      try fill("part", ["b", "c"])
      let data = ["--dataset", "folder", "--image-size", "28", "--device", "cpu"]
      _ = try Program.succeed(
        ["infect", "--data", folder["all"], "--attack", "none", "--width", "2", "--epochs", "1", "--output"]
          + [folder["v"]] + data)
      let erase =
        [
          "erase", folder["v/model.safetensors"], "--data", folder["all"], "--method", "fine-tuning",
          "--epochs",
        ]
        + ["1", "--output", folder["p"], "--clean", folder["part"]] + data
      try Program.fail(65, ["part", "b, c", "a, b, c"], erase)
      try FileManager.default.createDirectory(atPath: folder["part/a"], withIntermediateDirectories: true)
      _ = try Program.succeed(erase)
    }
  }
}
