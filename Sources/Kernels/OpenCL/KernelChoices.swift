import Foundation

/// Which kernels an OpenCL device computed with. A run that goes on later takes them again, however its device has been
/// tuned in the meantime: other kernels round differently.
public struct KernelChoices: Codable, Equatable, Sendable {
  /// The device, its driver and its platform, as they name themselves.
  let device: String
  /// A hash of the kernels' text.
  let kernels: String
  /// ``LaunchBuilder/version``; `nil` in files of earlier versions.
  let launches: Int?
  /// They are those for a CPU.
  let isCPU: Bool
  /// The parameters of every family.
  let families: [ProductFamily: ProductParameters]
  /// The compute units that sums were divided among; a driver on a CPU shows as many as the process may use. `nil` in files of
  /// earlier versions.
  let computeUnits: Int?
  private static let mostComputeUnits = 1 << 16

  init(_ tuning: OpenCLTuning, of device: OpenCLDevice) {
    self.device = device.fingerprint
    kernels = OpenCLCompiler.fingerprint
    launches = LaunchBuilder.version
    isCPU = tuning.isCPU
    families = tuning.products
    computeUnits = tuning.limits.computeUnits
  }

  /// The same choices for a device; `nil` where they can't be the same, with the reason as a notice. What
  /// `PBE_GPU_KERNELS` chooses goes first. Throws only for a wrong `PBE_GPU_KERNELS`.
  func tuning(
    for device: OpenCLDevice, environment: [String: String] = ProcessInfo.processInfo.environment,
    notice: (String) -> Void
  ) throws -> OpenCLTuning? {
    var tuning = try OpenCLTuning(device.limits, environment: environment)
    func refuse(_ why: String) -> OpenCLTuning? {
      notice("warning: the checkpoint's kernels are not used, the result will differ by rounding: \(why)")
      return nil
    }
    if self == KernelChoices(tuning, of: device) { return tuning }
    if TuningStore.chosenByHand(environment) { return refuse("PBE_GPU_KERNELS chooses others") }
    guard self.device == device.fingerprint else { return refuse("they are of another device or driver") }
    guard kernels == OpenCLCompiler.fingerprint, launches == LaunchBuilder.version, isCPU == tuning.isCPU,
      tuning.use(families).isEmpty
    else {
      return refuse("they are of other kernels")
    }
    if let computeUnits {
      // A checkpoint may come from anyone, and products are made of this number.
      guard (1...Self.mostComputeUnits).contains(computeUnits) else {
        return refuse("\(computeUnits) compute units are none that a device has")
      }
      tuning.limits.computeUnits = computeUnits
    }
    tuning.origin = "as in the checkpoint"
    return tuning
  }
}
