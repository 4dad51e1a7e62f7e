import Foundation
import Testing

extension CommandTests {
  /// What the command line may say, and where results may go.
  @Suite struct Usage {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    @Test func helpOfEveryCommand() throws {
      let overview = try Program.succeed(["--help"]).output
      for command in [
        "devices", "poison", "show", "infect", "evaluate", "erase", "inspect", "observe", "calibrate",
        "theorem",
        "bench", "parity", "tune", "report", "sweep", "collect",
      ] {
        #expect(overview.contains("\n  \(command) "))
        let help = try Program.succeed([command, "--help"])
        #expect(help.output.contains("USAGE: pbe-gpu \(command)"))
        #expect(help.error.isEmpty)
      }
      #expect(try Program.succeed(["--version"]).output.first?.isNumber == true)
    }

    @Test func unknownArguments() throws {
      try Program.fail(64, ["frobnicate", "--help"], ["frobnicate"])
      try Program.fail(64, ["<model>", "pbe-gpu evaluate --help"], ["evaluate"])
      try Program.fail(64, ["--no-such", "pbe-gpu devices --help"], ["devices", "--no-such"])
      try Program.fail(
        64, ["nonesuch", "badnet"],
        Victim.infect(victim.folder) + ["--attack", "nonesuch", "--output", folder["o"]])
    }

    @Test(arguments: [
      ["--learning-rate", "nan"], ["--learning-rate", "inf"], ["--learning-rate=-1"],
      ["--learning-rate", "1e-300"],
      ["--momentum", "nan"], ["--momentum", "1"], ["--weight-decay", "inf"], ["--weight-decay", "nan"],
      ["--poison-rate", "nan"], ["--poison-rate", "2"], ["--target=-1"],
      ["--target", "9223372036854775808"], ["--limit", "0"], ["--limit=-1"], ["--test-limit", "0"],
      ["--epochs", "0"],
      ["--batch", "0"], ["--batch", "65537"], ["--width", "0"], ["--width", "9223372036854775807"],
      ["--seed=-1"],
      ["--mean", "nan", "--std", "1"], ["--mean", "1e300", "--std", "1"], ["--mean", "0.5", "--std", "0"],
      ["--mean", "0.5"], ["--mode", "x"], ["--architecture", "wrn-16-1"],
      ["--rotation", "5"], ["--nesterov", "--momentum", "0"], ["--test-fraction", "0.5"],
    ])
    func numbersOfInfect(options: [String]) throws {
      try Program.fail(
        64, [Self.named(options)],
        Victim.infect(victim.folder) + ["--device", "cpu", "--output", folder["o"]] + options)
      #expect(folder.names("o").isEmpty)
    }

    @Test(arguments: [
      ["--epsilon", "nan"], ["--epsilon", "inf"], ["--epsilon=-1"], ["--step-size", "inf"],
      ["--step-size", "nan"],
      ["--pgd-steps=-1"], ["--keep-rates", "0"], ["--keep-rates", "x"], ["--keep-rates", "0.5,"],
      ["--keep-rates", "nan"], ["--initial-fraction", "nan"],
      ["--adversarial-batches", "9223372036854775807"],
      ["--adversarial-epochs=-1"], ["--clean-fraction", "0"], ["--clean", "somewhere"],
      ["--clean-fraction", "0.5"], ["--method", "aft", "--clean", "somewhere", "--clean-fraction", "0.5"],
      ["--method", "aft", "--clean", "somewhere", "--limit", "5"], ["--method", "x"],
      ["--mean", "0.5", "--std", "0.5"], ["--nesterov", "--momentum", "0"],
      ["--method", "aft", "--poisoned"], ["--no-augment", "--crop-padding", "2"],
      ["--rotation", "nan"], ["--rotation", "inf"], ["--crop-probability", "nan"], ["--crop-padding", "65"],
      ["--flip-probability", "2"],
    ])
    func numbersOfErase(options: [String]) throws {
      try Program.fail(64, [Self.named(options)], victim.erase + ["--output", folder["o"]] + options)
      #expect(folder.names("o").isEmpty)
    }

    /// The option that an error has to name: the last one, or of two that belong together the first.
    private static func named(_ options: [String]) -> String {
      if options.contains("--std") { return "--mean" }
      return String(options.last { $0.hasPrefix("--") }?.prefix { $0 != "=" } ?? "--")
    }

    @Test func smallestSizes() throws {
      for options in [
        ["--batch", "1", "--limit", "5"], ["--limit", "1"], ["--poison-rate", "0"], ["--poison-rate", "1"],
      ] {
        let result = try Program.succeed(
          Victim.infect(victim.folder) + ["--epochs", "1", "--test-limit", "20", "--device", "cpu", "--json"]
            + ["--output", folder["o"]] + options)
        _ = try metrics(result.json()["metrics"])
      }
      let erased = try Program.succeed(
        victim.erase + [
          "--limit", "1", "--test-limit", "1", "--adversarial-batches", "1000000", "--batch", "65536",
        ]
          + ["--output", folder["e"]])
      _ = try metrics(erased.json()["after"])
    }

    /// What would change nothing is refused.
    @Test func optionsOfTrainingSetsWhereNoneIsRead() throws {
      for command in [
        victim.evaluate, ["inspect", victim.model] + victim.data,
        ["observe", victim.folder.path, "--output", folder["o"]] + victim.data,
        ["show", "--attack", "sig", "--output", folder["o"]] + victim.data,
      ] {
        try Program.fail(64, ["--limit", "--test-limit"], command + ["--limit", "5"])
      }
      try Program.fail(
        64, ["--poison-rate"],
        ["show", "--attack", "sig", "--output", folder["o"], "--poison-rate", "0.2"] + victim.data)
      #expect(folder.names("o").isEmpty)
    }

    @Test func targetOutOfRange() throws {
      try Program.fail(
        65, ["10", "0 to 9"],
        Victim.infect(victim.folder) + ["--target", "10", "--device", "cpu", "--output", folder["o"]])
    }

    @Test func unknownDevices() throws {
      for name in ["no such device", "opencl:99", "opencl:-1", ""] {
        try Program.fail(69, ["--device \(name)", "cpu"], victim.evaluate + ["--device", name])
      }
    }

    @Test func missingFiles() throws {
      try Program.fail(
        66, ["missing.pth"], ["evaluate", folder["missing.pth"]] + victim.data + ["--device", "cpu"])
      try Program.fail(66, ["missing.json"], victim.evaluate + ["--attack", folder["missing.json"]])
      try Program.fail(66, ["nowhere"], victim.evaluate + ["--data", folder["nowhere"]])
      try Program.fail(
        66, ["nowhere"],
        victim.erase(by: "aft") + ["--clean", folder["nowhere"], "--output", folder["o"]])
    }

    @Test func divergedTrainingWritesNoModel() throws {
      try Program.fail(
        65, ["diverged", "--learning-rate"],
        victim.erase + ["--learning-rate", "1000", "--output", folder["o"], "--quiet"])
      // What was written before it diverged are whole files of finite weights.
      for name in folder.results("o") where name != "checkpoint.safetensors" {
        #expect(name.hasPrefix("step-"))
        let result = try Program.run(["evaluate", folder["o/\(name)"]] + victim.data + ["--device", "cpu"])
        #expect(result.status == 0 || result.error.contains("answers"), "\(result.error)")
      }
    }

    @Test func theModelIsNotOverwritten() throws {
      let before = victim.folder.bytes("infected/model.safetensors")
      try Program.fail(64, ["overwrite"], victim.erase + ["--output", victim.folder["infected"]])
      #expect(victim.folder.bytes("infected/model.safetensors") == before)
    }

    /// Nor is the attack's file that a run reads and changes.
    @Test func theAttackIsNotOverwritten() throws {
      let before = victim.folder.bytes("infected/attack.json")
      try Program.fail(
        64, ["overwrite"],
        Victim.infect(victim.folder) + [
          "--attack", victim.attack, "--target", "4", "--output", victim.folder["infected"],
        ])
      #expect(victim.folder.bytes("infected/attack.json") == before)
    }

    @Test func outputThatCannotBe() throws {
      let file = try folder.write("file", "")
      for path in [file, "\(file)/below", "/proc/nothing"] {
        try Program.fail(73, [path], victim.erase + ["--output", path])
      }
    }

    /// A limit on the size of files is the full disk that a test can have without privileges.
    @Test func filesThatCannotGrow() throws {
      let result = try Program.run(
        victim.erase + ["--quiet", "--output", folder["o"]], shell: "ulimit -f 100; exec \"$0\" \"$@\"")
      #expect(result.status == 74 && !result.endedBySignal, "\(result.error)")
      #expect(result.error.contains("o/checkpoint.safetensors"))
      #expect(folder.results("o").isEmpty, "nothing half-written")
      #expect(folder.text("o/events.jsonl").contains("\"code\":74"))
    }

    @Test func standardOutputClosed() throws {
      let pipe = Pipe()
      try pipe.fileHandleForReading.close()
      for arguments in [["devices"], ["--help"], victim.evaluate] {
        let result = try Program.run(arguments, output: pipe.fileHandleForWriting)
        #expect(result.status == 74 && !result.endedBySignal, "\(result.error)")
        #expect(result.error.contains("standard output"))
      }
      let closed = try Program.run(victim.evaluate, shell: "exec \"$0\" \"$@\" >&- 2>&- <&-")
      #expect(closed.status == 74 && !closed.endedBySignal)
      let silent = try Program.run(victim.evaluate, shell: "exec \"$0\" \"$@\" 2>&-")
      #expect(silent.status == 0 && !silent.output.isEmpty)
    }
  }
}
