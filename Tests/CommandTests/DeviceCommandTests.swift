import Foundation
import Testing

extension CommandTests {
  @Suite struct DeviceCommands {
    /// A folder without drivers: to the OpenCL loader, a machine without any.
    private static func withoutDrivers() throws -> (folder: Folder, environment: [String: String]) {
      let folder = try Folder()
      return (folder, ["OCL_ICD_VENDORS": folder.path + "/", "OCL_ICD_FILENAMES": ""])
    }

    @Test func devicesAsText() throws {
      let result = try Program.succeed(["devices"])
      #expect(result.output.hasPrefix("cpu: "))
      #expect(result.output.contains("\nopencl:0: "))
      #expect(result.error.isEmpty)
    }

    @Test func devicesAsJSON() throws {
      let object = try Program.succeed(["devices", "--json"]).json()
      let devices = try #require(object["devices"] as? [[String: Any]])
      #expect(devices.first?["identifier"] as? String == "cpu")
      for device in devices {
        #expect((device["name"] as? String)?.isEmpty == false)
        #expect((device["compute_units"] as? Int ?? 0) > 0)
        #expect((device["memory_bytes"] as? Int ?? 0) > 0)
        #expect((device["usable"] as? Bool ?? false) || device["reason"] is String)
      }
      #expect(devices.contains { ($0["identifier"] as? String)?.hasPrefix("opencl:") ?? false })
      #expect(object["opencl_missing"] == nil)
    }

    @Test func noDriver() throws {
      let (folder, environment) = try Self.withoutDrivers()
      let object = try Program.succeed(["devices", "--json"], environment: environment).json()
      #expect((object["devices"] as? [Any])?.count == 1)
      #expect((object["opencl_missing"] as? String)?.contains("platform") ?? false)
      try Program.fail(
        69, ["--device opencl", "install"], ["bench", "--device", "opencl"], environment: environment)
      let bench = ["bench", "--architecture", "mnist-net", "--width", "2", "--batch", "4", "--repeats", "1"]
      for device in ["cpu", "auto"] {
        let result = try Program.succeed(bench + ["--device", device, "--json"], environment: environment)
        #expect(try result.json()["device"] as? String == "cpu")
      }
      withExtendedLifetime(folder) {}
    }

    @Test(arguments: ["cpu", "opencl"]) func bench(device: String) throws {
      let result = try Program.succeed([
        "bench", "--device", device, "--architecture", "mnist-net", "--width", "2", "--batch", "4",
        "--repeats", "1",
        "--json",
      ])
      let object = try result.json()
      for key in ["infer", "pgd", "train", "loss"] { #expect((object[key] as? Double ?? 0) > 0, "\(key)") }
      #expect((object["peak_mib"] as? Int ?? 0) > 0)
      #expect((object["device"] as? String)?.hasPrefix(device) ?? false)
    }

    /// A step that became slower is an error; what was measured otherwise is not compared.
    @Test func benchCompares() throws {
      let folder = try Folder()
      let bench = [
        "bench", "--device", "cpu", "--architecture", "mnist-net", "--width", "2", "--batch", "4",
        "--repeats", "1",
      ]
      var stored = try Program.succeed(bench + ["--json"]).json()
      func store(_ seconds: Double) throws -> String {
        for step in ["infer", "pgd", "train"] { stored[step] = seconds }
        return try folder.write(
          "bench.json", [UInt8](JSONSerialization.data(withJSONObject: stored)))
      }
      let result = try Program.succeed(bench + ["--compare", store(1000)])
      #expect(result.output.contains("time against the stored result:"))
      try Program.fail(
        69, ["slower than the stored result: infer by"], bench + ["--compare", store(1e-9)],
        ignoringOutput: true)
      try Program.fail(
        64, ["--compare", "width 2"], bench + ["--width", "3", "--compare", store(1)], ignoringOutput: true)
      try Program.fail(66, ["missing.json"], bench + ["--compare", folder["missing.json"]])
    }

    @Test func parity() throws {
      let result = try Program.succeed(["parity", "--device", "cpu", "--filter", "argMax", "--json"])
      let devices = try #require(result.json()["devices"] as? [[String: Any]])
      #expect(devices.count == 1)
      #expect((devices.first?["cases"] as? Int ?? 0) > 0)
      #expect(devices.first?["failed"] as? Int == 0)
      try Program.fail(64, ["no-such-case"], ["parity", "--device", "cpu", "--filter", "no-such-case"])
      // No GPU, though one was exposed: a warning, but for --quiet.
      let environment = ["CUDA_VISIBLE_DEVICES": "0", "OCL_ICD_VENDORS": "/nowhere"]
      let automatic = ["parity", "--device", "auto", "--filter", "argMax"]
      #expect(try Program.succeed(automatic, environment: environment).error.contains("CUDA_VISIBLE_DEVICES"))
      #expect(try Program.succeed(automatic + ["--quiet"], environment: environment).error.isEmpty)
    }

    /// A device without the products is passed over, unless it is named.
    @Test func parityOfOtherProducts() throws {
      let arguments = ["parity", "--precision", "tf32", "--filter", "argMax"]
      let result = try Program.run(arguments)
      #expect(result.error.contains("cpu is not covered"), "\(result.error)")
      #expect(result.status == 0 || result.error.contains("no device computes products in tf32"))
      try Program.fail(69, ["cpu", "tf32"], arguments + ["--device", "cpu"])
      let asked = try Program.run(
        ["parity", "--filter", "argMax"], environment: ["PBE_GPU_PRECISION": "tf32"])
      #expect(asked.error.contains("cpu is not covered") && asked.status == result.status, "\(asked.error)")
    }

    @Test func parityStops() throws {
      let run = try Program.start(["parity", "--device", "cpu", "--filter", "convolution"])
      #expect(run.wait { run.error.contains("checks") }, "\(run.error)")
      kill(run.process.processIdentifier, SIGINT)
      #expect(run.finish().status == 75)
    }

    /// The roofline is of the CPU alone, and of widths that networks may have.
    @Test func rooflineRefuses() throws {
      for options in [
        ["--device", "opencl:0"], ["--compare", "x"], ["--precision", "bf16"], ["--profile"],
      ] {
        try Program.fail(64, ["--roofline is about"], ["bench", "--roofline"] + options)
      }
      for width in ["9223372036854775807", "-5"] {
        try Program.fail(64, ["--width must be"], ["bench", "--roofline", "--width=\(width)"])
      }
    }

    @Test func tune() throws {
      let folder = try Folder()
      let environment = ["PBE_GPU_CACHE": folder.path, "PBE_GPU_KERNELS": ""]
      // No time to try more than the untuned choice of one family.
      let options = ["tune", "--device", "opencl:0", "--seconds", "0.001"]
      let object = try Program.succeed(options + ["--json", "--quiet"], environment: environment).json()
      let families = try #require(object["families"] as? [[String: Any]])
      #expect(families.count == 1)
      #expect((families.first?["error"] as? Double ?? 1) < 1e-5)
      #expect((families.first?["speed_up"] as? Double ?? 0) >= 1)
      let file = try #require(object["file"] as? String)
      #expect(file.hasPrefix(folder.path) && FileManager.default.fileExists(atPath: file))
      let listed = try Program.succeed(["devices"], environment: environment)
      #expect(listed.output.contains("tuned"))
      try Data("{".utf8).write(to: URL(fileURLWithPath: file))
      let bench = ["bench", "--device", "opencl:0", "--architecture", "mnist-net", "--width", "2"]
      let result = try Program.succeed(
        bench + ["--batch", "4", "--repeats", "1"],
        environment: environment.merging(["PBE_GPU_TUNE": "off"]) { $1 })
      #expect(result.error.contains("is ignored: it is damaged"))
    }

    @Test func tuneRefuses() throws {
      try Program.fail(64, ["nothing to tune"], ["tune", "--device", "cpu"])
      try Program.fail(64, ["--seconds"], ["tune", "--seconds", "nan"])
      for environment in [["PBE_GPU_CACHE": "off"], ["PBE_GPU_KERNELS": "cpu"]] {
        try Program.fail(64, ["unset"], ["tune", "--device", "opencl:0"], environment: environment)
      }
      try Program.fail(
        73, ["/dev/null"], ["tune", "--device", "opencl:0"],
        environment: ["PBE_GPU_CACHE": "/dev/null/x", "PBE_GPU_KERNELS": ""])
    }
  }
}
