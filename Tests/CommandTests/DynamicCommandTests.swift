import Foundation
import Testing

extension CommandTests {
  /// The attack whose trigger is trained with the victim, from the training to a defense.
  @Suite struct DynamicAttack {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    @Test func infectEvaluateEraseAndShow() throws {
      let infect =
        ["infect"] + victim.data
        + [
          "--attack", "dynamic", "--parameter", "width=4", "--architecture", "mnist-net", "--width", "4",
          "--epochs", "2", "--mask-epochs", "5", "--batch", "32", "--device", "cpu", "--json",
        ]
      let infection = try Program.succeed(infect + ["--output", folder["infected"]])
      let record = try infection.json()
      #expect(record["poisoned"] as? Int == 40 && record["cross"] as? Int == 40)
      // Never more mask epochs than epochs.
      #expect(infection.error.contains("mask epoch 2/2") && !infection.error.contains("mask epoch 3"))
      #expect(
        folder.results("infected") == [
          "attack.json", "generators.safetensors", "infect.json", "model.safetensors",
        ])
      let generators = folder.bytes("infected/generators.safetensors")
      try FileManager.default.removeItem(atPath: folder["infected/generators.safetensors"])
      _ = try Program.succeed(infect + ["--resume", "--output", folder["infected"]])
      #expect(folder.bytes("infected/generators.safetensors") == generators)
      let infected = try #require(record["metrics"] as? NSDictionary)
      #expect(infected["cross"] is Double)

      // The folder may be moved: the attack names its generators relative to itself.
      try FileManager.default.moveItem(atPath: folder["infected"], toPath: folder["moved"])
      let (model, attack) = (folder["moved/model.safetensors"], folder["moved/attack.json"])
      // They are trained already.
      try Program.fail(
        64, ["--mask-epochs"],
        ["infect"] + victim.data + [
          "--attack", attack, "--mask-epochs", "1", "--device", "cpu", "--output", folder["o"],
        ])
      let evaluated = try Program.succeed(
        ["evaluate", model] + victim.data + ["--attack", attack, "--device", "cpu", "--json"]
      ).json()
      for key in ["acc", "asr", "ra", "asr_all_images", "cross"] {
        #expect(evaluated[key] as? Double == infected[key] as? Double, "\(key)")
      }
      let erased = try Program.succeed(
        ["erase", model] + victim.data
          + [
            "--attack", attack, "--method", "pbe", "--recipe", "paper", "--epochs", "1", "--device", "cpu",
            "--json", "--output",
            folder["erased"],
          ]
      ).json()
      #expect((erased["before"] as? NSDictionary)?["asr"] as? Double == infected["asr"] as? Double)
      _ = try Program.succeed(
        ["show"] + victim.data
          + ["--attack", attack, "--images", "3", "--device", "cpu", "--output", folder["sheet.png"]])

      // Poisoning takes the trained trigger; the folder it writes brings trigger and truth along.
      let poisoned = try Program.succeed(
        ["poison"] + victim.data
          + ["--attack", attack, "--device", "cpu", "--json", "--output", folder["poisoned"]]
      ).json()
      #expect(poisoned["poisoned"] as? Int == 40 && poisoned["cross"] as? Int == 40)
      try FileManager.default.removeItem(atPath: folder["moved/generators.safetensors"])
      try FileManager.default.moveItem(atPath: folder["poisoned"], toPath: folder["elsewhere"])
      let fromPixels = try Program.succeed(
        ["erase", model, "--data", folder["elsewhere"], "--dataset", "mnist", "--recipe", "paper"]
          + ["--epochs", "1", "--device", "cpu", "--json", "--output", folder["erased-too"]]
      ).json()
      #expect((fromPixels["before"] as? NSDictionary)?["asr"] as? Double == infected["asr"] as? Double)
      let step = (fromPixels["steps"] as? [[String: Any]])?.first
      #expect(step?["agreement_auroc"] is Double)

      let missing = try Program.run(
        ["evaluate", model] + victim.data + ["--attack", attack, "--device", "cpu"])
      #expect(missing.status == 66 && missing.error.contains("generators.safetensors"))
    }

    /// Without a training there is no trigger.
    @Test func untrained() throws {
      let result = try Program.run(
        ["show"] + victim.data + ["--attack", "dynamic", "--device", "cpu", "--output", folder["sheet.png"]])
      #expect(result.status == 65 && result.error.contains("infect"))
    }
  }
}
