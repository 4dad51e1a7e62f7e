import Foundation
import PBE
import Testing

extension CommandTests {
  /// Poisoned sets on disk, image folders, and what may be wrong with them.
  @Suite struct Poison {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func poison(_ output: String, _ options: [String] = []) -> [String] {
      ["poison"] + victim.data + [
        "--attack", "badnet", "--target", "3", "--seed", "7", "--device", "cpu", "--json",
      ]
        + ["--output", folder[output]] + options
    }

    /// What the infection takes, but for the data and the attack.
    private func training(_ output: String) -> [String] {
      [
        "--architecture", "mnist-net", "--width", "4", "--epochs", "1", "--batch", "16", "--no-augment",
        "--seed",
        "7", "--device", "cpu", "--json", "--quiet", "--output", folder[output],
      ]
    }

    @Test func ownFormat() throws {
      let record = try Program.succeed(poison("set")).json()
      #expect(record["images"] as? Int == 400)
      #expect(record["poisoned"] as? Int == 40)
      #expect(
        folder.names("set") == [
          "attack.json", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte",
          "train-labels-idx1-ubyte",
        ])
      #expect(folder.names("").allSatisfy { !$0.hasSuffix(".tmp") })

      // The grid of the patch is of whole bytes: nothing is rounded, and the model is the same to the last bit.
      let data = ["--data", folder["set"], "--dataset", "mnist"]
      let written = try Program.succeed(["infect"] + data + training("a")).json()
      _ = try Program.succeed(
        ["infect"] + victim.data + ["--attack", "badnet", "--target", "3"] + training("b"))
      #expect(written["poisoned"] as? Int == 40)
      #expect(written["data_checksum"] as? String == record["data_checksum"] as? String)
      #expect(folder.bytes("a/model.safetensors") == folder.bytes("b/model.safetensors"))
      #expect(folder.bytes("a/attack.json") == folder.bytes("b/attack.json"))

      // So is the erasing, with the truth and without.
      let erase =
        [
          "erase", folder["a/model.safetensors"], "--device", "cpu", "--json", "--recipe", "paper",
          "--epochs", "1",
        ]
        + ["--keep-rates", "0.5", "--quiet"]
      let known = try Program.succeed(erase + data + ["--output", folder["known"]]).json()
      _ = try Program.succeed(
        erase + victim.data + ["--attack", folder["b/attack.json"], "--output", folder["loaded"]])
      try Program.fail(
        64, ["--poisoned", "attack.json"], erase + data + ["--poisoned", "--output", folder["o"]])
      try FileManager.default.removeItem(atPath: folder["set/attack.json"])
      let unknown = try Program.succeed(erase + data + ["--output", folder["unknown"]]).json()
      for name in ["loaded", "unknown"] {
        #expect(folder.bytes("known/model.safetensors") == folder.bytes("\(name)/model.safetensors"))
      }
      #expect(folder.bytes("known/agreement.csv") == folder.bytes("loaded/agreement.csv"))
      // Who knows the truth writes it in a last column; the others don't, and the rest is the same.
      let table = folder.text("known/agreement.csv").split(separator: "\n")
      #expect(table.first?.hasSuffix(",poisoned") == true && table.count { $0.hasSuffix(",1") } == 40)
      let withoutTruth = table.map { $0[..<($0.lastIndex(of: ",") ?? $0.endIndex)] }
      #expect(folder.text("unknown/agreement.csv").split(separator: "\n") == withoutTruth)
      #expect(try metrics(known["after"]).count == 5)
      #expect(try metrics(unknown["after"]).count == 1)
      func step(_ record: [String: Any]) -> [String: Any]? { (record["steps"] as? [[String: Any]])?.first }
      #expect(step(known)?["agreement_auroc"] is Double)
      #expect(step(unknown) != nil && step(unknown)?["agreement_auroc"] == nil)
      let scored = try Program.succeed(
        erase + data + ["--poisoned", "--attack", folder["b/attack.json"], "--output", folder["scored"]]
      ).json()
      #expect(try metrics(scored["after"]) == metrics(known["after"]))
      #expect(step(scored)?["agreement_auroc"] == nil)
      #expect(folder.text("scored/agreement.csv").split(separator: "\n") == withoutTruth)
    }

    /// Of a written set with fewer images the truth is that of the images that are left.
    @Test func fewerImagesOfAWrittenSet() throws {
      _ = try Program.succeed(poison("set"))
      let data = ["--data", folder["set"], "--dataset", "mnist"]
      let record = try Program.succeed(
        ["erase", victim.model] + data + ["--limit", "150", "--device", "cpu", "--json", "--recipe", "paper"]
          + ["--epochs", "1", "--keep-rates", "0.5", "--output", folder["o"]]
      ).json()
      let poisoned = folder.text("o/agreement.csv").split(separator: "\n").dropFirst()
        .map { $0.split(separator: ",", omittingEmptySubsequences: false) }.filter { $0.last == "1" }
      #expect(poisoned.count == record["poisoned"] as? Int && poisoned.count > 5 && poisoned.count < 40)
      #expect(poisoned.allSatisfy { $0[1] == "3" }, "all have the attacker's label")
    }

    /// Neither poisoned nor cross images are clean ones.
    @Test func cleanImagesOfAWrittenSet() throws {
      _ = try Program.succeed(
        ["poison"] + victim.data + ["--attack", "wanet", "--target", "3", "--device", "cpu"]
          + ["--output", folder["set"]])
      let tuned = try Program.succeed(
        ["erase", victim.model, "--data", folder["set"], "--dataset", "mnist", "--method", "fine-tuning"]
          + ["--clean-fraction", "1", "--epochs", "1", "--device", "cpu", "--output", folder["o"]])
      #expect(tuned.error.contains("fine-tuning: 280 clean images"), "\(tuned.error)")
    }

    @Test func pictures() throws {
      let record = try Program.succeed(poison("set", ["--format", "png", "--limit", "100"])).json()
      #expect(record["dataset"] as? String == "folder")
      #expect(folder.names("set") == ["attack.json", "poison.csv", "test", "train"])
      #expect(folder.names("set/train") == (0..<10).map(String.init))
      let rows = folder.text("set/poison.csv").split(separator: "\n").map { $0.split(separator: ",") }
      #expect(rows.first == ["file", "label", "true_label", "role"])
      #expect(rows.count == 101)
      for row in rows.dropFirst() {
        try #require(row.count == 4)
        #expect(FileManager.default.fileExists(atPath: folder["set/\(row[0])"]))
        #expect(row[0].hasPrefix("train/\(row[1])/"))
        #expect(row[3] == "poisoned" ? row[1] == "3" : row[3] == "clean" && row[1] == row[2])
      }
      #expect(rows.count { $0.last == "poisoned" } == 10)
      let infected = try Program.succeed(
        ["infect", "--data", folder["set"], "--dataset", "folder", "--grey", "--image-size", "28"]
          + training("model")
      ).json()
      #expect(infected["data_checksum"] as? String == record["data_checksum"] as? String)
      #expect(infected["poisoned"] as? Int == 10)
    }

    /// A file's seed chooses the images: another one on the command line would do nothing.
    @Test func seedOfAFile() throws {
      let file = try folder.write("a.json", #"{"attack":"badnet","target":0}"#)
      let arguments = ["poison"] + victim.data + ["--output", folder["set"], "--device", "cpu"]
      try Program.fail(64, ["--seed", "poison_seed"], arguments + ["--attack", file, "--seed", "7"])
      _ = try Program.succeed(arguments + ["--attack", file, "--limit", "20"])
    }

    @Test func poisonedTwice() throws {
      _ = try Program.succeed(poison("set", ["--limit", "50"]))
      let data = ["--data", folder["set"], "--dataset", "mnist"]
      try Program.fail(64, ["already"], ["infect"] + data + ["--attack", "badnet"] + training("o"))
      try Program.fail(64, ["already"], poison("again") + data)
      try Program.fail(
        64, ["--dataset mnist"], ["infect"] + data + ["--dataset", "fashion-mnist"] + training("o"))
      try Program.fail(73, ["already"], poison("set"))
      try folder.write(
        "set/attack.json", folder.text("set/attack.json").replacing("\"images\":50", with: "\"images\":49"))
      try Program.fail(65, ["set/attack.json", "50 images"], ["infect"] + data + training("o"))
      try Program.fail(64, ["--attack"], ["infect"] + victim.data + training("o"))
      #expect(folder.names("o").isEmpty && folder.names("again").isEmpty)
    }

    /// The file with the truth is not replaced by that of a model.
    @Test func truthIsNotWrittenOver() throws {
      _ = try Program.succeed(poison("set", ["--limit", "50"]))
      let names = folder.names("set")
      let infect = ["infect", "--data", folder["set"], "--dataset", "mnist"] + training("set")
      for _ in 0..<2 {
        let truth = folder.bytes("set/attack.json")
        for options in [[], ["--resume"]] {
          try Program.fail(73, ["set/attack.json", "--output"], infect + options)
        }
        #expect(folder.bytes("set/attack.json") == truth && folder.names("set") == names)
        // A damaged one may be mended.
        try folder.write("set/attack.json", String(folder.text("set/attack.json").dropLast(3)))
      }
    }

    /// A link without its file is no missing truth: what carries triggers must not pass for clean.
    @Test func lostTruth() throws {
      _ = try Program.succeed(poison("set", ["--limit", "50"]))
      try FileManager.default.removeItem(atPath: folder["set/attack.json"])
      try FileManager.default.createSymbolicLink(
        atPath: folder["set/attack.json"], withDestinationPath: folder["elsewhere.json"])
      let data = ["--data", folder["set"], "--dataset", "mnist"]
      try Program.fail(66, ["set/attack.json"], ["infect"] + data + training("o"))
      try Program.fail(
        66, ["set/attack.json"], ["erase", victim.model, "--device", "cpu", "--output", folder["o"]] + data)
    }

    /// Nothing is left to learn from.
    @Test func allImagesPoisoned() throws {
      _ = try Program.succeed(poison("set", ["--limit", "50", "--poison-rate", "1"]))
      let erase = [
        "erase", victim.model, "--data", folder["set"], "--dataset", "mnist", "--device", "cpu", "--quiet",
        "--output", folder["o"],
      ]
      try Program.fail(65, ["all 50 training images are poisoned", "--clean"], erase + ["--method", "aft"])
      try Program.fail(65, ["all 50 training images have one label"], erase)
      #expect(!folder.names("o").contains("model.safetensors"))
    }

    /// The readers look into folders of a data set's usual name, and so must who looks for the truth.
    @Test func poisonedFolderInTheFolder() throws {
      try FileManager.default.createDirectory(atPath: folder["parent"], withIntermediateDirectories: true)
      _ = try Program.succeed(poison("parent/mnist", ["--limit", "100"]))
      let (parent, inner) = (
        ["--data", folder["parent"], "--dataset", "mnist"],
        ["--data", folder["parent/mnist"], "--dataset", "mnist"]
      )
      try Program.fail(64, ["already"], ["infect"] + parent + ["--attack", "badnet"] + training("o"))
      try Program.fail(64, ["already"], poison("again") + parent)
      let infected = try Program.succeed(["infect"] + parent + training("o")).json()
      #expect(infected["poisoned"] as? Int == 10)
      for (name, data) in [("one", parent), ("other", inner)] {
        _ = try Program.succeed(
          ["erase", victim.model] + data + ["--attack", victim.attack, "--recipe", "paper", "--epochs", "1"]
            + ["--device", "cpu", "--quiet", "--output", folder[name]])
      }
      #expect(folder.bytes("one/model.safetensors") == folder.bytes("other/model.safetensors"))
      #expect(folder.bytes("one/agreement.csv") == folder.bytes("other/agreement.csv"))
    }

    /// What it prints reads what it wrote; other options are refused.
    @Test func printedOptionsReadTheSet() throws {
      let options = ["--format", "png", "--limit", "50"]
      let arguments = poison("set", options).filter { $0 != "--json" }
      let line = try Program.succeed(arguments).output
      let start = try #require(line.range(of: "--dataset"))
      let printed = line[start.lowerBound...].split(whereSeparator: \.isWhitespace).map(String.init)
      let record = try Program.succeed(poison("twin", options)).json()
      #expect(record["channels"] as? Int == 1 && record["image_size"] as? Int == 28)
      let data = ["--data", folder["set"]]
      let infected = try Program.succeed(["infect"] + data + printed + training("model")).json()
      #expect(infected["data_checksum"] as? String == record["data_checksum"] as? String)
      let remedy = "--dataset folder --grey --image-size 28"
      let wrong = data + ["--dataset", "folder"]
      try Program.fail(64, ["1x28x28", "3x32x32", remedy], ["infect"] + wrong + training("o"))
      try Program.fail(
        64, ["1x28x28", "3x32x32", remedy],
        ["erase", victim.model] + wrong + ["--device", "cpu", "--output", folder["o"]])
      #expect(folder.names("o").isEmpty)
    }

    /// The triggers are in the pixels: nobody needs the picture any more, wherever the folder is.
    @Test func picturesOfAttacksAreCopied() throws {
      let picture = try Picture(width: 2, height: 2, channels: 3, pixels: Array(0..<12))
      let path = try folder.write("boat.png", picture.png())
      _ = try Program.succeed(
        poison("set", ["--limit", "50", "--attack", "blend", "--parameter", "pattern=\(path)"]))
      #expect(folder.names("set").contains("pattern.png"))
      #expect(folder.bytes("set/pattern.png") == folder.bytes("boat.png"))
      #expect(!folder.text("set/attack.json").contains(folder.path))
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.moveItem(atPath: folder["set"], toPath: folder["moved"])
      let infected = try Program.succeed(
        ["infect", "--data", folder["moved"], "--dataset", "mnist"] + training("o")
      ).json()
      #expect(try metrics(infected["metrics"])["asr"] != nil)
    }

    /// A link to an empty folder stays one, and a link to nothing is refused before the work.
    @Test func linkedOutput() throws {
      let files = FileManager.default
      try files.createSymbolicLink(atPath: folder["link"], withDestinationPath: folder["empty"])
      try Program.fail(73, ["link", "does not exist"], poison("link", ["--limit", "50"]))
      try files.createDirectory(atPath: folder["empty"], withIntermediateDirectories: true)
      _ = try Program.succeed(poison("link", ["--limit", "50"]))
      #expect(try files.destinationOfSymbolicLink(atPath: folder["link"]) == folder["empty"])
      #expect(folder.names("empty").contains("attack.json"))
    }

    /// A limit on the size of files is the full disk that a test can have without privileges.
    @Test func nothingIsLeftOfHalfASet() throws {
      let result = try Program.run(poison("set", ["--quiet"]), shell: "ulimit -f 100; exec \"$0\" \"$@\"")
      #expect(result.status == 74 && !result.endedBySignal, "\(result.error)")
      #expect(result.error.contains("set/train-images-idx3-ubyte"))
      #expect(folder.names("").isEmpty)
    }

    /// Every image is looked at before the training starts, and the wrong one is named.
    @Test func damagedImages() throws {
      _ = try Program.succeed(poison("set", ["--format", "png"]))
      let name = try #require(folder.names("set/train/4").last)
      let path = "set/train/4/\(name)"
      let good = [UInt8](folder.data(path))
      let infect =
        ["infect", "--data", folder["set"], "--dataset", "folder", "--attack", "none"] + training("o")
      try FileManager.default.removeItem(atPath: folder["set/attack.json"])
      for (bytes, message) in [
        ([UInt8](), "empty"), (Array(good.dropLast(20)), "cut off"), ([0xFF, 0xD8, 0xFF], "JPEG"),
        ([1, 2], "neither"),
      ] {
        try folder.write(path, bytes)
        try Program.fail(65, [path, message], infect)
      }
      try FileManager.default.removeItem(atPath: folder[path])
      try FileManager.default.createSymbolicLink(atPath: folder[path], withDestinationPath: "/nowhere")
      try Program.fail(66, [path], infect)
      #expect(folder.names("o").isEmpty)
    }

    @Test func attacksThatDoNotFit() throws {
      let row = "[" + Array(repeating: "1", count: 29).joined(separator: ",") + "]"
      let rows = Array(repeating: row, count: 29).joined(separator: ",")
      let large = try folder.write("large.json", "{\"attack\":\"badnet\",\"target\":0,\"pattern\":[\(rows)]}")
      let clean = ["--attack", "sig", "--parameter", "label=clean", "--poison-rate", "0.2"]
      for (options, parts) in [
        (["--attack", large], ["29x29", "28x28"]), (["--target", "10"], ["10", "0 to 9"]),
        (clean, ["80 images", "40"]),
      ] {
        let attack = ["--attack", "badnet"] + options
        try Program.fail(65, parts, ["infect"] + victim.data + training("o") + attack)
        try Program.fail(65, parts, poison("p") + options + ["--seed", "0"])
      }
      #expect(folder.names("o").isEmpty && folder.names("p").isEmpty)
    }
  }
}
