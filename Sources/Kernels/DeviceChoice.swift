/// Which device `auto` means, inside an allocation of a cluster too.
///
/// The drivers show only the devices that the scheduler exposes: NVIDIA's by `CUDA_VISIBLE_DEVICES`, AMD's by
/// `ROCR_VISIBLE_DEVICES` and `GPU_DEVICE_ORDINAL`. Of those that are left, each process of a node takes another one.
struct DeviceChoice: Equatable {
  /// The device; `nil` for the CPU.
  var identifier: String?
  /// What the choice depended on besides the devices, for the log: `local rank 1 by SLURM_LOCALID, GPU 1 of 4`.
  var reason: String?
  /// What is probably not as it should be.
  var warning: String?

  /// The number of a process among those of its node, by Slurm, Open MPI, MPICH, MVAPICH2 and PALS.
  static let ranks = [
    "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK",
    "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID",
  ]
  /// By what schedulers expose GPUs.
  static let exposures = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"]

  /// By what a container is given NVIDIA's GPUs. Inside, their numbers are others.
  static let containerExposures = ["NVIDIA_VISIBLE_DEVICES"]

  /// Chooses the GPU of the process's local rank, in the drivers' order, and the CPU where there is none.
  static func automatic(_ devices: [DeviceDescription], environment: [String: String]) -> DeviceChoice {
    let usable = devices.filter { $0.isGPU && $0.unusable == nil }
    func exposed(by names: [String]) -> [String] {
      names.compactMap { name in environment[name].flatMap { isNone($0) ? nil : "\(name)=\($0)" } }
    }
    guard !usable.isEmpty else {
      let missed = exposed(by: exposures + containerExposures)
      let warning =
        missed.isEmpty
        ? nil
        : "\(missed.joined(separator: ", ")), but OpenCL shows no GPU that can be used: computing on the CPU"
      return DeviceChoice(warning: warning)
    }
    var reasons = exposed(by: exposures)
    var rank = 0
    for name in ranks {
      guard let number = environment[name].flatMap({ Int($0) }), number >= 0 else { continue }
      rank = number
      if usable.count > 1 { reasons.append("local rank \(number) by \(name)") }
      break
    }
    let index = rank % usable.count
    if usable.count > 1 { reasons.append("GPU \(index) of \(usable.count)") }
    return DeviceChoice(
      identifier: usable[index].identifier, reason: reasons.isEmpty ? nil : reasons.joined(separator: ", "))
  }

  /// Slurm writes NoDevFiles where a job has no GPU.
  private static func isNone(_ value: String) -> Bool {
    ["", "-1", "NoDevFiles", "void", "none"].contains(value)
  }
}
