import Foundation
import Testing

extension CommandTests {
  /// Wrong, damaged and malicious files.
  @Suite struct HostileFiles {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private func evaluate(_ model: String) -> [String] {
      ["evaluate", model] + victim.data + ["--device", "cpu"]
    }

    /// The infected model with a changed header.
    private func model(_ name: String, _ change: (String) -> String) throws -> String {
      let bytes = [UInt8](victim.folder.data("infected/model.safetensors"))
      let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
      let header = Array(change(String(decoding: bytes[8..<8 + length], as: UTF8.self)).utf8)
      let count = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
      return try folder.write(name, count + header + bytes[(8 + length)...])
    }

    @Test func truncatedModels() throws {
      let bytes = [UInt8](victim.folder.data("infected/model.safetensors"))
      for count in [0, 5, 200, bytes.count / 2, bytes.count - 1] {
        let path = try folder.write("cut.safetensors", Array(bytes[..<count]))
        try Program.fail(65, ["cut.safetensors"], evaluate(path))
      }
    }

    @Test func weightsThatOverflow() throws {
      var bytes = [UInt8](victim.folder.data("infected/model.safetensors"))
      let start = 8 + bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
      for (high, kind) in [(UInt8(0x7E), "answers"), (0x7F, "not finite")] {
        for index in stride(from: start + 3, to: bytes.count, by: 4) { bytes[index] = high }
        for index in stride(from: start + 2, to: bytes.count, by: 4) { bytes[index] |= 0x80 }
        try Program.fail(65, [kind], evaluate(try folder.write("huge.safetensors", bytes)))
      }
    }

    @Test func pickleThatCallsTheSystem() throws {
      var file: [UInt8] = [
        0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
      ]
      file += [0x80, 2, 0x4D, 0xE9, 3, 0x2E, 0x80, 2, 0x7D, 0x2E]
      let command = "touch '\(folder["pwned"])'"
      file += [0x80, 2] + Array("cposix\nsystem\n".utf8) + [0x58, UInt8(command.utf8.count), 0, 0, 0]
      file += Array(command.utf8) + [0x85, 0x52, 0x2E]
      let path = try folder.write("evil.pth", file)
      try Program.fail(
        65, ["evil.pth", "posix.system"], evaluate(path) + ["--architecture", "mnist-net"])
      #expect(!FileManager.default.fileExists(atPath: folder["pwned"]))
    }

    @Test func modelsOfOtherNetworks() throws {
      try Program.fail(
        64, ["--architecture", "mnist-net"], evaluate(victim.model) + ["--architecture", "small-vgg"])
      try Program.fail(64, ["width 4"], evaluate(victim.model) + ["--width", "8"])
      let anonymous = try model("anonymous") {
        $0.replacingOccurrences(of: "\"architecture\":", with: "\"author\":")
      }
      try Program.fail(64, ["--architecture (mnist-net)"], evaluate(anonymous))
      try Program.fail(
        65, ["not those of wrn-16-1", "mnist-net"], evaluate(anonymous) + ["--architecture", "wrn-16-1"])
    }

    @Test func absurdMetadata() throws {
      for (key, old, new) in [
        ("width", "4", "1000000000000000000"), ("width", "4", "4096"), ("width", "4", "-4"),
        ("width", "4", "x"),
        ("input", "1x28x28", "99999x99999x99999"), ("input", "1x28x28", "28"), ("classes", "10", "0"),
        ("mean", "", "nan"), ("mean", "", "0.5"), ("format_version", "1", "2"),
        ("architecture", "mnist-net", "\\u001b[31m"),
      ] {
        let path = try model("absurd") {
          $0.replacingOccurrences(of: "\"\(key)\":\"\(old)\"", with: "\"\(key)\":\"\(new)\"")
        }
        let start = Date()
        try Program.fail(65, ["absurd"], evaluate(path))
        #expect(Date().timeIntervalSince(start) < 10, "\(key) \(new)")
      }
    }

    @Test func notFiles() throws {
      #expect(mkfifo(folder["pipe"], 0o600) == 0)
      for path in [folder["pipe"], folder.path, "/dev/zero", folder["missing"], ""] {
        try Program.fail(66, [], evaluate(path))
      }
      try Program.fail(66, ["not a regular file"], evaluate(victim.model) + ["--attack", folder["pipe"]])
      let attack = try folder.write("a.json", "{\"attack\":\"image\",\"target\":0,\"image\":\"pipe\"}")
      try Program.fail(66, ["not a regular file"], evaluate(victim.model) + ["--attack", attack])
    }

    @Test(arguments: [
      ("", "JSON"), ("[]", "object"), ("{\"target\":0}", "attack"),
      ("{\"attack\":\"magic\",\"target\":0}", "magic"),
      ("{\"attack\":\"badnet\"}", "target"), ("{\"attack\":\"badnet\",\"target\":10}", "0 to 9"),
      ("{\"attack\":\"badnet\",\"target\":0,\"poison_rate\":2}", "poison_rate"),
      ("{\"attack\":\"badnet\",\"target\":0,\"mode\":\"all-to-all\"}", "has no target"),
      ("{\"attack\":\"badnet\",\"target\":0,\"colum\":3}", "colum"),
      ("{\"attack\":\"badnet\",\"target\":0,\"row\":9223372036854775807}", "row"),
      ("{\"attack\":\"badnet\",\"target\":0,\"pattern\":[[1],[1,1]]}", "pattern"),
      (String(repeating: "[", count: 100_000), "JSON"),
    ])
    func attackFiles(text: String, part: String) throws {
      let path = try folder.write("attack.json", text)
      try Program.fail(65, [part], evaluate(victim.model) + ["--attack", path])
    }

    @Test func triggerImageOfNoBytes() throws {
      try folder.write("empty.png", "")
      let path = try folder.write("a.json", "{\"attack\":\"image\",\"target\":0,\"image\":\"empty.png\"}")
      try Program.fail(65, ["empty.png"], evaluate(victim.model) + ["--attack", path])
    }

    @Test func wrongData() throws {
      try Victim.write(20, "train", to: folder)
      try Victim.write(20, "t10k", to: folder, lastLabel: 10)
      let arguments = ["evaluate", victim.model, "--data", folder.path, "--device", "cpu", "--dataset"]
      try Program.fail(65, ["t10k-labels", "label 10"], arguments + ["mnist"])
      try folder.write("t10k-labels-idx1-ubyte", Array(folder.data("train-labels-idx1-ubyte").dropLast()))
      try Program.fail(65, ["t10k-labels", "cut off"], arguments + ["mnist"])
      try FileManager.default.removeItem(atPath: folder["t10k-labels-idx1-ubyte"])
      try Program.fail(66, ["t10k-labels"], arguments + ["mnist"])
      try Program.fail(66, [folder.path], arguments + ["cifar10"])
      try folder.write("test_batch.bin", [1, 2, 3])
      try Program.fail(65, ["test_batch.bin", "30730000"], arguments + ["cifar10"])
    }
  }
}
