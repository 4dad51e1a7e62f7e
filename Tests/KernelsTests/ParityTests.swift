import Foundation
import Kernels
import Parity
import Testing

/// The parity table on every device of this machine.
@Suite(.serialized) struct ParityTests {
  /// A green run that skipped the GPU code has validated nothing.
  @Test func anOpenCLDeviceIsCovered() {
    print("devices covered: \(TestDevices.covered)")
    #expect(
      TestDevices.usable.contains { $0.device.identifier.hasPrefix("opencl") }, "no usable OpenCL device")
    #expect(TestDevices.usable.contains { $0.device.identifier == "cpu" })
  }

  /// Every backend against the reference, and backend against backend.
  private func check(_ cases: [OperatorCase]) throws {
    for operatorCase in cases {
      let (expected, nearKinks) = try operatorCase.expected()
      // No case may compare numbers whose sign or order is a matter of rounding, or nothing but zeros.
      #expect(nearKinks == 0, "\(operatorCase.name): elements too close to a jump of the operator")
      // An image that is alone has itself for a neighbour: its zeros must replace what was there.
      let mayBeZero = operatorCase.name.hasPrefix("fill") || operatorCase.name.hasSuffix("alone")
      for output in expected where !output.isInteger && !mayBeZero {
        #expect(output.values.contains { $0 != 0 }, "\(operatorCase.name), \(output.label): all zero")
      }
      var results: [(device: String, measurement: ParityRunner.Measurement)] = []
      for backend in TestDevices.usable {
        do {
          let measurement = try ParityRunner.measure(operatorCase, on: backend)
          let result = ParityRunner.compare(operatorCase, expected, measurement)
          #expect(result.passed, "\(backend.device.identifier): \(result.description)")
          results.append((backend.device.identifier, measurement))
        } catch {
          Issue.record("\(backend.device.identifier): \(operatorCase.name): \(error)")
        }
      }
      guard let first = results.first else { continue }
      for other in results.dropFirst() {
        for output in expected {
          let values = (first.measurement.values(of: output), other.measurement.values(of: output))
          // Each is within the bound of the exact result: the triangle inequality allows twice the distance.
          let allowed = output.isInteger ? 0 : 4 * operatorCase.bound
          let error = normalisedError(values.1, values.0)
          #expect(
            error <= allowed,
            "\(operatorCase.name), \(output.label): \(other.device) against \(first.device): \(error)")
        }
      }
    }
  }

  @Test(arguments: ParityTable.groups.keys.sorted()) func table(_ group: String) throws {
    try check(ParityTable.groups[group] ?? [])
  }

  @Test(SharedGolden.needed, arguments: ["conv2d", "layers"]) func sharedGolden(_ name: String) throws {
    let directory = try #require(SharedGolden.directory)
    try check(GoldenCases.cases(of: GoldenSet(directory: directory, name: name), prefix: "shared"))
  }
}
