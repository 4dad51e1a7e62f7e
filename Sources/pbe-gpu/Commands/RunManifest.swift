import CRevision
import Foundation
import Kernels
import PBE

/// `run.json` in a run's folder: what the latest process at the run was given, and where it computes.
struct RunManifest: Encodable {
  struct Device: Encodable {
    var identifier: String, name: String, platform: String, driver: String, version: String
    var uuid: String?, pci: String?, precision: Precision
  }

  var version = PBEGPU.version
  var revision: String?
  var arguments = Array(CommandLine.arguments.dropFirst())
  var folder = FileManager.default.currentDirectoryPath
  var host = ProcessInfo.processInfo.hostName
  /// Variables that the program, the drivers and batch systems go by.
  var environment: [String: String]
  var device: Device
  var settings_checksum: String
  /// CRC-32 by what it is of.
  var checksums: [String: String]

  init(_ device: DeviceDescription, _ identity: RunIdentity, checksums: [String: String]) {
    let revision = String(cString: pbe_revision())
    self.revision = revision.isEmpty ? nil : revision
    environment = ProcessInfo.processInfo.environment.filter { name, _ in
      Self.prefixes.contains { name.hasPrefix($0) } || Self.names.contains(name)
    }
    self.device = Device(
      identifier: device.identifier, name: device.name, platform: device.platform, driver: device.driver,
      version: device.version, uuid: device.uuid, pci: device.pci, precision: device.precision)
    settings_checksum = identity.checksum
    self.checksums = checksums
  }

  private static let prefixes = ["PBE_GPU_", "POCL_", "OPENBLAS_", "JOB_COMPLETION_"]
  private static let names: Set = [
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "OCL_ICD_VENDORS",
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_LOCALID",
    "SLURM_CLUSTER_NAME", "SLURMD_NODENAME",
  ]
}
