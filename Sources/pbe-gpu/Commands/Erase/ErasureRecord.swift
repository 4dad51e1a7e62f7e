import Kernels
import PBE

/// Everything that the result of an erasure depends on, but for the device.
struct ErasureSettings: Encodable {
  var defense: DefensePlan
  var model_checksum: String, dataset: String, data_checksum: String, test_checksum: String
  /// The model's input normalisation, where it has one.
  var mean: [Float]?, std: [Float]?
  var attack: String?
  /// Whether the training images carry their triggers already, where there are some to put on them.
  var carries_triggers: Bool?
  var clean_fraction: Double?
  /// The clean images, where the truth tells which they are.
  var clean_checksum: String?
  var relapse: Int?, relapse_data_checksum: String?
  var precision: Precision
}

/// What `report.json` and `--json` hold.
struct ErasureRecord: Encodable {
  var method: DefenseMethod, recipe: DefenseRecipe?
  var settings: ErasureSettings, settings_checksum: String
  var version = PBEGPU.version
  var device: String, device_name: String, driver: String
  var precision: Precision, seed: UInt64
  var model: String, images: Int, poisoned: Int?
  var before: Metrics, after: Metrics, der: Double?, relapse: Metrics?
  var identification: Identification.Report?
  var steps: [StepReport] = [], seconds = 0.0

  init(
    _ defense: DefenseOptions, settings: ErasureSettings, settings_checksum: String,
    device: DeviceDescription, seed: UInt64,
    model: String, training: TrainingSet, before: Metrics
  ) {
    method = defense.method
    recipe = defense.usedRecipe
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
struct ErasureSummary: RunRecord {
  var before: Metrics, after: Metrics, der: Double?, relapse: Metrics?
  var identification: Identification.Report?
  var settings_checksum: String
}

extension Array {
  var nilIfEmpty: Self? { isEmpty ? nil : self }
}

extension Identification.Report {
  /// In words.
  var line: String {
    var text = "\(suggested) training images look poisoned (agreement.csv)"
    if let auroc, let tpr, let fpr {
      text +=
        ": AUROC \(String(format: "%.4f", auroc)), TPR \(Output.percent(tpr))%, FPR \(Output.percent(fpr))%"
      if let fpr_untouched {
        text += " (of the images without any trigger \(Output.percent(fpr_untouched))%)"
      }
    }
    return text
  }
}
