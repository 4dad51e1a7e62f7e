import Foundation
import Kernels
import Testing

/// The devices that the tests run on, opened once: OpenCL's discovery is not safe to run twice at the same time.
enum TestDevices {
  /// Every usable device of this machine.
  static let usable: [any Backend] = Devices.all().compactMap { description in
    if let reason = description.unusable {
      print("not covered: \(description.identifier) (\(description.name)): \(reason)")
      return nil
    }
    do {
      return try Devices.open(description.identifier)
    } catch {
      print("not covered: \(description.identifier) (\(description.name)): \(error)")
      return nil
    }
  }

  /// The names of the devices that are covered.
  static var covered: String {
    usable.map { "\($0.device.identifier) (\($0.device.name), \($0.device.platform) \($0.device.driver))" }
      .joined(separator: ", ")
  }
}

/// The directory of golden files that are shared between projects: `PBE_SHARED`, or `shared` beside this package.
enum SharedGolden {
  static let directory: URL? = {
    let environment = ProcessInfo.processInfo.environment["PBE_SHARED"].map { URL(fileURLWithPath: $0) }
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let shared = environment ?? package.deletingLastPathComponent().appendingPathComponent("shared")
    let golden = shared.appendingPathComponent("golden")
    return FileManager.default.fileExists(atPath: golden.path) ? golden : nil
  }()

  /// Skips a test, saying so, where the files are not there.
  static let needed = ConditionTrait.enabled(
    if: directory != nil, "not covered: the shared golden files (no ../shared/golden, and no PBE_SHARED)")
}
