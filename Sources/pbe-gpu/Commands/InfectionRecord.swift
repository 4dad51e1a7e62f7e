import Foundation
import Kernels
import Logging
import PBE

/// Everything that the result of an infection depends on, but for the device.
struct InfectionSettings: Encodable {
  var architecture: String, width: Int, mean: [Float], std: [Float]
  var dataset: String, data_checksum: String
  var attack: String?
  var epochs: Int, mask_epochs: Int?, training: TrainingSettings, precision: Precision
}

/// What `infect.json` and `--json` hold.
struct InfectionRecord: Codable {
  var version: String, device: String, precision: Precision, seed: UInt64, dataset: String
  var data_checksum: String, settings_checksum: String
  var images: Int, poisoned: Int, cross: Int, epochs: Int, seconds: Double
  var metrics: Metrics
  var history: [TrainingRun.Epoch]

  func print(asJSON json: Bool) throws {
    if json { return try Output.json(self) }
    try Output.table(MetricsTable.rows([(poisoned > 0 ? "infected" : "clean", metrics)]))
  }
}

/// The files in the output folder of an infection.
struct InfectionFiles {
  let model: String, attack: String, generators: String, record: String, checkpoint: String

  init(_ folder: String) {
    model = "\(folder)/model.safetensors"
    attack = "\(folder)/attack.json"
    generators = "\(folder)/generators.safetensors"
    record = "\(folder)/infect.json"
    checkpoint = "\(folder)/checkpoint.safetensors"
  }

  /// The record of a run that has written all its files; `nil` when there is none, or it is of another run.
  func finished(_ identity: RunIdentity) throws -> InfectionRecord? {
    guard FileManager.default.fileExists(atPath: record), FileManager.default.fileExists(atPath: model) else {
      return nil
    }
    let bytes = try InputFile.read(record, limit: 1 << 28, remedy: "delete the file to start over")
    let found = try? JSONDecoder().decode(InfectionRecord.self, from: Data(bytes))
    return found?.settings_checksum == identity.checksum ? found : nil
  }

  /// Says from where a run goes on; `origin` is the device that the checkpoint was written on.
  func announce(_ origin: String?, device: String, epochs: Int, _ log: Logger) throws {
    guard let origin else { return log.info("there is no checkpoint in \(checkpoint): starting") }
    log.info("going on from \(checkpoint), after \(epochs) epochs")
    if origin != device {
      log.warning(
        "the checkpoint is from \(origin): the result will differ by rounding from a run on one device")
    }
  }

  func removeCheckpoint() { try? FileManager.default.removeItem(atPath: checkpoint) }
}
