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

    @Test func parity() throws {
      let result = try Program.succeed(["parity", "--device", "cpu", "--filter", "argMax", "--json"])
      let devices = try #require(result.json()["devices"] as? [[String: Any]])
      #expect(devices.count == 1)
      #expect((devices.first?["cases"] as? Int ?? 0) > 0)
      #expect(devices.first?["failed"] as? Int == 0)
      try Program.fail(64, ["no-such-case"], ["parity", "--device", "cpu", "--filter", "no-such-case"])
    }
  }
}
