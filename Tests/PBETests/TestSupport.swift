import Foundation
import Kernels
import PBE
import Testing

/// The devices that the tests run on, opened once: OpenCL's discovery is not safe to run twice at the same time.
enum TestDevices {
  static let usable: [any Backend] = Devices.all().compactMap { description in
    description.unusable == nil ? try? Devices.open(description.identifier) : nil
  }

  /// The CPU.
  static var cpu: any Backend { usable[0] }
}

/// The suites that compute on ``TestDevices``, one after the other: a backend is for one thread at a time, and suites of
/// their own would run side by side.
@Suite(.serialized)
enum DeviceTests {}

/// Golden files that lie outside the repository, where they are at hand.
enum SharedGolden {
  static let directory: URL? = {
    let environment = ProcessInfo.processInfo.environment["PBE_SHARED"].map { URL(fileURLWithPath: $0) }
    var package = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { package.deleteLastPathComponent() }
    let golden = (environment ?? package.deletingLastPathComponent().appendingPathComponent("shared"))
      .appendingPathComponent("golden")
    return FileManager.default.fileExists(atPath: golden.path) ? golden : nil
  }()
}

/// The normalised error |a-b|^2 / |b|^2 of the parity tests.
func normalisedError(_ a: [Float], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  let difference = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
  let size = b.reduce(0.0) { $0 + $1 * $1 }
  return size > 0 ? difference / size : difference
}

func normalisedError(_ a: [Float], _ b: [Float]) -> Double { normalisedError(a, b.map(Double.init)) }

/// A data set that a small network learns in seconds: each class is a bright bar in a row of its own, in noise.
func barImages(_ count: Int, classes: Int = 4, size: Int = 12, seed: UInt64) throws -> LabeledImages {
  var stream = PhiloxStream(seed: seed, purpose: 0x5445_5354)
  var pixels: [UInt8] = []
  var labels: [Int32] = []
  for index in 0..<count {
    let label = index % classes
    labels.append(Int32(label))
    for row in 0..<size {
      for _ in 0..<size {
        let isBar = row / (size / classes) == label
        pixels.append(UInt8((isBar ? 120 : 20) + Int(stream.nextUniform() * 100)))
      }
    }
  }
  return try LabeledImages(
    name: "bars", channels: 1, height: size, width: size, classes: classes, pixels: pixels, labels: labels)
}
