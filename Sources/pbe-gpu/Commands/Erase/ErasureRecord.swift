import Foundation
import Kernels
import Logging
import PBE

/// Everything that the result of an erasure depends on, but for the device.
struct ErasureSettings: Encodable {
  var defense: DefensePlan
  var model_checksum: String, dataset: String, data_checksum: String, test_checksum: String
  var attack: String?
  var clean_fraction: Double?
  var relapse: Int?
  var precision: Precision
}

/// What `report.json` and `--json` hold.
struct ErasureRecord: Encodable {
  var settings: ErasureSettings, settings_checksum: String
  var version = PBEGPU.version
  var device: String, device_name: String, driver: String
  var precision: Precision, seed: UInt64
  var model: String, images: Int, poisoned: Int?
  var before: Metrics, after: Metrics, der: Double?, relapse: Metrics?
  var identification: Identification.Report?
  var steps: [StepReport] = [], seconds = 0.0

  init(
    settings: ErasureSettings, settings_checksum: String, device: DeviceDescription, seed: UInt64,
    model: String, training: TrainingSet, before: Metrics
  ) {
    self.settings = settings
    self.settings_checksum = settings_checksum
    self.device = device.identifier
    device_name = device.name
    driver = device.driver
    precision = device.precision
    self.seed = seed
    self.model = model
    images = training.images.count
    poisoned = training.poison?.count
    self.before = before
    after = before
  }
}

/// The part of `report.json` that is printed as a table.
struct ErasureSummary: Decodable {
  var before: Metrics, after: Metrics, der: Double?, relapse: Metrics?
  var identification: Identification.Report?
  var settings_checksum: String
}

extension Identification.Report {
  /// In words.
  var line: String {
    var text = "\(suggested) training images look poisoned (agreement.csv)"
    if let auroc, let tpr, let fpr {
      text +=
        ": AUROC \(String(format: "%.4f", auroc)), TPR \(Output.percent(tpr))%, FPR \(Output.percent(fpr))%"
    }
    return text
  }
}

/// The files in the output folder of an erasure.
struct ErasureFiles {
  let model: String, report: String, checkpoint: String

  init(_ folder: String) {
    model = "\(folder)/model.safetensors"
    report = "\(folder)/report.json"
    checkpoint = "\(folder)/checkpoint.safetensors"
  }

  /// The record of a run that has written all its files, as text; `nil` when there is none, or it is of another run.
  func finished(_ identity: RunIdentity) throws -> String? {
    guard FileManager.default.fileExists(atPath: report), FileManager.default.fileExists(atPath: model) else {
      return nil
    }
    let bytes = try InputFile.read(report, limit: 1 << 28, remedy: "delete the file to start over")
    let found = try? JSONDecoder().decode(ErasureSummary.self, from: Data(bytes))
    return found?.settings_checksum == identity.checksum ? String(decoding: bytes, as: UTF8.self) : nil
  }

  /// Says from where a run goes on; `origin` is the device that the checkpoint was written on.
  func announce(_ origin: String?, device: String, _ log: Logger) throws {
    guard let origin else { return log.info("there is no checkpoint in \(checkpoint): starting") }
    log.info("going on from \(checkpoint)")
    if origin != device {
      log.warning(
        "the checkpoint is from \(origin): the result will differ by rounding from a run on one device")
    }
  }

  func removeCheckpoint() { try? FileManager.default.removeItem(atPath: checkpoint) }
}
