import Foundation
import PBE
import Testing

extension CommandTests {
  /// Attacks on the command line.
  @Suite struct AttackCommands {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func infect(_ options: [String]) -> [String] {
      Victim.infect(victim.folder) + ["--device", "cpu", "--epochs", "1", "--output", folder["o"]] + options
    }

    @Test(arguments: [
      (["wanet"], 40, 80), (["blend", "--parameter", "pattern=picture", "--parameter", "alpha=0.3"], 40, 0),
      (["sig", "--parameter", "label=clean", "--poison-rate", "0.05"], 20, 0),
    ])
    func infects(attack: [String], poisoned: Int, cross: Int) throws {
      let record = try Program.succeed(infect(["--json", "--attack"] + attack)).json()
      #expect(record["poisoned"] as? Int == poisoned && record["cross"] as? Int == cross)
      let metrics = try #require(record["metrics"] as? [String: Any])
      #expect((metrics["cross"] != nil) == (cross > 0))
      let again = try Program.succeed(
        ["evaluate", folder["o/model.safetensors"]] + victim.data
          + ["--device", "cpu", "--json", "--attack", folder["o/attack.json"]]
      ).json()
      for name in ["acc", "asr", "ra", "cross"] {
        #expect(again[name] as? Double == metrics[name] as? Double, "\(name)")
      }
    }

    /// Before any training: nothing is written.
    @Test func badAttacks() throws {
      for (code, options, parts) in [
        (Int32(65), ["sig", "--parameter", "label=clean", "--poison-rate", "0.2"], ["80", "40", "class 3"]),
        (65, ["wanet", "--poison-rate", "0.4"], ["160", "400"]),
        (65, ["wanet", "--parameter", "cross_ratio=-1"], ["cross_ratio", "-1.0", "0 or more"]),
        (65, ["badnet", "--parameter", "row=26"], ["28x28"]),
        (65, ["badnet", "--target", "10"], ["0 to 9"]),
        (64, ["blend", "--parameter", "alhpa=1"], ["alhpa", "known are alpha, pattern"]),
        (64, ["badnet", "--mode", "all-to-all"], ["--target"]),
        (64, ["badnet", "--mask-epochs", "3"], ["dynamic"]),
        (64, ["none"], ["--attack none", "leave them away"]),
        (64, ["blend", "--parameter", "alpha"], ["KEY=VALUE"]),
        (65, ["image"], ["image"]),
        (66, ["blend", "--parameter", "pattern=no-such.png"], ["no-such.png"]),
      ] {
        try Program.fail(code, parts, infect(["--attack"] + options))
        #expect(!FileManager.default.fileExists(atPath: folder["o/model.safetensors"]))
      }
    }

    /// A key that is there twice, and options for what is poisoned already.
    @Test func attacksThatMeanTwoThings() throws {
      let file = try folder.write("twice.json", #"{"attack": "badnet", "target": 1, "target": 2}"#)
      try Program.fail(65, ["twice.json", "target"], infect(["--attack", file]))
      _ = try Program.succeed(
        ["poison"] + victim.data + ["--attack", "badnet", "--device", "cpu", "--output", folder["set"]])
      let poisoned = [
        "infect", "--data", folder["set"], "--dataset", "mnist", "--architecture", "mnist-net", "--width",
        "4",
        "--epochs", "1", "--device", "cpu", "--output", folder["o"],
      ]
      try Program.fail(64, ["poisoned already", "--target"], poisoned + ["--target", "5"])
      try Program.fail(64, ["poisoned already"], poisoned + ["--poison-rate", "0.5"])
      _ = try Program.succeed(poisoned)
      // What is known to be poisoned is not taken for clean.
      let tuned = try Program.succeed(
        [
          "erase", folder["o/model.safetensors"], "--data", folder["set"], "--dataset", "mnist", "--method",
          "fine-tuning", "--epochs", "1", "--clean", folder["set"], "--device", "cpu", "--output",
          folder["p"],
        ])
      #expect(tuned.error.contains("360 clean images"), "\(tuned.error)")
    }

    @Test func showsAnAttack() throws {
      let sheet = folder["sheet.png"]
      let result = try Program.succeed(
        ["show"] + victim.data
          + [
            "--device", "cpu", "--json", "--attack", "wanet", "--images", "3", "--scale", "2", "--output",
            sheet,
          ]
      ).json()
      #expect((result["rows"] as? [String])?.count == 5 && result["images"] as? Int == 3)
      let picture = try Picture(file: sheet)
      #expect(picture.width == 4 + 3 * 60 && picture.height == 4 + 5 * 60)
      try Program.fail(
        64, ["--scale"], ["show"] + victim.data + ["--attack", "sig", "--scale", "0", "--output", sheet])
      try Program.fail(
        73, [],
        ["show"] + victim.data + ["--attack", "sig", "--device", "cpu", "--output", folder["no/such.png"]])
    }
  }
}
