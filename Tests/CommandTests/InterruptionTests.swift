import Foundation
import Testing

extension CommandTests {
  /// Ctrl-C, and what batch systems send.
  @Suite struct Interruptions {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    /// Sends `signal` and expects an orderly end within a few seconds.
    private func interrupt(_ run: Program.Run, _ signal: Int32) {
      let start = Date()
      kill(run.process.processIdentifier, signal)
      let result = run.finish(seconds: 60)
      #expect(result.status == 75 && !result.endedBySignal, "\(result.status) \(result.error)")
      #expect(Date().timeIntervalSince(start) < 10)
      #expect(result.output.isEmpty)
      let last = result.error.split(separator: "\n").last ?? ""
      #expect(last.hasPrefix("error: interrupted; "), "\(result.error)")
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGUSR1], ["cpu", "opencl"]) func infect(signal: Int32, device: String)
      throws
    {
      let run = try Program.start(
        Victim.infect(victim.folder) + [
          "--epochs", "100000", "--learning-rate", "1e-6", "--device", device, "--output", folder["o"],
        ])
      #expect(run.wait { run.error.contains("epoch 1/") }, "\(run.error)")
      interrupt(run, signal)
      #expect(folder.results("o") == ["checkpoint.safetensors"])
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGUSR1]) func erase(signal: Int32) throws {
      let rates = Array(repeating: "1", count: 100).joined(separator: ",")
      let run = try Program.start(
        victim.erase + ["--epochs", "20", "--keep-rates", rates, "--output", folder["o"]])
      #expect(run.wait { folder.results("o").contains("step-1.safetensors") }, "\(run.error)")
      interrupt(run, signal)
      let all = folder.results("o")
      #expect(all.contains("checkpoint.safetensors"))
      let names = all.filter { $0 != "checkpoint.safetensors" }
      #expect(
        names.count >= 2 && names.allSatisfy { $0.hasPrefix("step-") && $0.hasSuffix(".safetensors") },
        "\(names)")
      for name in names {
        let result = try Program.succeed(
          ["evaluate", folder["o/\(name)"]] + victim.data + ["--device", "cpu", "--json"])
        _ = try metrics(result.json())
      }
    }

    /// While something long runs that does not look at the signal, such as the setting up of a large network.
    @Test func aSecondSignalEndsTheProgramAtOnce() throws {
      let run = try Program.start(["bench", "--device", "cpu", "--width", "128", "--batch", "2"])
      #expect(run.wait { run.error.contains("device: cpu") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGINT)
      Thread.sleep(forTimeInterval: 0.05)
      let start = Date()
      kill(run.process.processIdentifier, SIGINT)
      let result = run.finish(seconds: 60)
      #expect(result.endedBySignal && result.status == SIGINT, "\(result.status) \(result.error)")
      #expect(Date().timeIntervalSince(start) < 2)
    }
  }
}
