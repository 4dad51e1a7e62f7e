import Kernels
import PBE

/// Everything that the result of an infection depends on, but for the device.
struct InfectionSettings: Encodable {
  var architecture: String, width: Int, mean: [Float], std: [Float]
  var dataset: String, data_checksum: String, test_checksum: String
  var attack: String?
  var epochs: Int, mask_epochs: Int?, evaluate_every: Int, stop_at: [Double]?, training: TrainingSettings,
    precision: Precision
}

/// What `infect.json` and `--json` hold.
struct InfectionRecord: Codable, RunRecord {
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
