import Testing

@testable import Kernels

@Suite("The device that auto means")
struct DeviceChoiceTests {
  private func device(_ number: Int, isGPU: Bool = true, unusable: String? = nil) -> DeviceDescription {
    DeviceDescription(
      identifier: "opencl:\(number)", isGPU: isGPU, name: "d", platform: "p", driver: "1",
      version: "3",
      computeUnits: 1, memoryByteCount: 1, largestAllocation: 1, kernels: "", unusable: unusable)
  }

  private func choice(_ devices: [DeviceDescription], _ environment: [String: String] = [:]) -> DeviceChoice {
    DeviceChoice.automatic(devices, environment: environment)
  }

  @Test func withoutScheduler() {
    #expect(choice([]) == DeviceChoice())
    #expect(choice([device(0, isGPU: false)]) == DeviceChoice())
    #expect(choice([device(0, isGPU: false), device(1)]) == DeviceChoice(identifier: "opencl:1"))
    #expect(choice([device(0, unusable: "broken"), device(1)]).identifier == "opencl:1")
    #expect(choice([device(0), device(1)]).identifier == "opencl:0")
  }

  /// What is listed may still refuse: another process has it to itself, or its driver is broken.
  @Test func devicesThatDoNotOpen() throws {
    let devices = [device(0), device(1), device(2)]
    func opened(_ number: Int?, broken: Set<String>) throws -> (String?, [String]) {
      var notices: [String] = []
      let name = try Devices.firstOpened(
        choose: { (refused: [String: String]) -> String? in
          if let number { return "opencl:\(number)" }
          let left = devices.map {
            self.device(Int($0.identifier.suffix(1))!, unusable: refused[$0.identifier])
          }
          return choice(left).identifier
        },
        open: { (name: String) -> String in
          if broken.contains(name) { throw PBEError(.device, "CL_OUT_OF_RESOURCES", at: name) }
          return name
        }, identifier: { $0 }, notice: { notices.append($0) })
      return (name, notices)
    }
    #expect(try opened(nil, broken: []) == ("opencl:0", []))
    let (second, notices) = try opened(nil, broken: ["opencl:0", "opencl:1"])
    #expect(second == "opencl:2" && notices.count == 2)
    #expect(notices[0].contains("opencl:0") && notices[1].contains("CL_OUT_OF_RESOURCES"))
    let (none, all) = try opened(nil, broken: ["opencl:0", "opencl:1", "opencl:2"])
    #expect(none == nil && all.count == 3)
    // Who asks for one gets that or its error.
    let error = #expect(throws: PBEError.self) { _ = try opened(1, broken: ["opencl:1"]) }
    #expect(error?.kind == .device && error?.place == "opencl:1")
    // So does who asks for any, where the others can't be used.
    let last = #expect(throws: PBEError.self) {
      _ = try Devices.firstOpened(
        choose: { (refused: [String: String]) -> String? in
          guard refused.isEmpty else { throw PBEError(.device, "it is too old", at: "opencl:0") }
          return "opencl:1"
        },
        open: { (name: String) -> String in throw PBEError(.device, "it is busy", at: name) },
        identifier: { $0 }, notice: { _ in })
    }
    #expect(last?.place == "opencl:1")
  }

  @Test(arguments: DeviceChoice.ranks) func localRank(name: String) {
    let devices = [device(0, isGPU: false), device(1), device(2, unusable: "broken"), device(3), device(4)]
    #expect(
      (0..<4).map { choice(devices, [name: "\($0)"]).identifier } == [
        "opencl:1", "opencl:3", "opencl:4", "opencl:1",
      ])
    #expect(choice(devices, [name: "1"]).reason == "local rank 1 by \(name), GPU 1 of 3")
    // Nonsense is no rank.
    for text in ["", "x", "-1"] { #expect(choice(devices, [name: text]).identifier == "opencl:1") }
    // Where each task sees only its own GPU, the rank changes nothing.
    #expect(choice([device(0)], [name: "3"]) == DeviceChoice(identifier: "opencl:0"))
  }

  @Test func slurmGoesFirst() {
    let both = ["SLURM_LOCALID": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "1"]
    #expect(choice([device(0), device(1)], both).identifier == "opencl:0")
  }

  @Test(arguments: DeviceChoice.exposures) func exposedDevices(name: String) {
    #expect(choice([device(0)], [name: "3"]).reason == "\(name)=3")
    let hidden = choice([], [name: "3"])
    #expect(
      hidden.identifier == nil && hidden.warning?.contains("\(name)=3, but OpenCL shows no GPU") ?? false)
    for text in ["", "-1", "NoDevFiles"] { #expect(choice([], [name: text]) == DeviceChoice()) }
  }

  /// A container with a GPU, but without what OpenCL finds it by.
  @Test func exposedContainer() {
    let container = ["NVIDIA_VISIBLE_DEVICES": "GPU-12"]
    #expect(choice([], container).warning?.hasPrefix("NVIDIA_VISIBLE_DEVICES=GPU-12, but") ?? false)
    #expect(choice([device(0)], container) == DeviceChoice(identifier: "opencl:0"))
    #expect(choice([], ["NVIDIA_VISIBLE_DEVICES": "void"]) == DeviceChoice())
  }
}
