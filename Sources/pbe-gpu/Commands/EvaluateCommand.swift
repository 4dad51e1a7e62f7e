import ArgumentParser
import Kernels
import PBE

/// Measures a model on the test set.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measure a model's accuracy and, with an attack file, how often the trigger works.")

  @OptionGroup var model: ModelOptions
  @OptionGroup var data: DataOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "The attack to score, as a JSON file (docs/attacks.md).")
  var attack: String?

  @Option(help: "Images per batch.")
  var batch = 256

  @Option(help: "A folder to write what --json prints to, as evaluate.json.")
  var output: String?

  func validate() throws {
    guard (1...65536).contains(batch) else { throw ValidationError("--batch must be 1 to 65536") }
    guard common.seed == 0 else { throw ValidationError("an evaluation draws nothing by --seed") }
    try data.checkTestOnly()
  }

  private struct Record: Encodable {
    var acc: Double, asr: Double?, ra: Double?, asr_all_images: Double?, asr_without_trigger: Double?,
      cross: Double?
    var images: Int, device: String, precision: Precision, model: String, dataset: String
  }

  func run() throws {
    let (backend, log) = try common.open()
    if let output { try Output.makeDirectory(output) }
    let test = try data.test()
    let file = try model.load(for: test)
    log.info(
      "model: \(file.specification.architecture.rawValue), width \(file.specification.width), \(file.format)")
    let weights = try file.weights(on: backend, place: model.model)
    let evaluator = try Evaluator(
      weights, test: test, attack: try attack.map { try AttackFile.load($0) }, batch: batch)
    let metrics = try evaluator.evaluate { done in
      try Interruption.check("run the command again")
      Terminal.shared.progress("evaluating", Double(done) / Double(evaluator.imageCount))
    }
    Terminal.shared.clear()
    let record = Record(
      acc: metrics.acc, asr: metrics.asr, ra: metrics.ra, asr_all_images: metrics.asr_all_images,
      asr_without_trigger: metrics.asr_without_trigger,
      cross: metrics.cross, images: test.count, device: backend.device.identifier,
      precision: backend.device.precision, model: model.model, dataset: data.dataset.rawValue)
    if let output { try AtomicFile.write(Output.text(record) + "\n", to: "\(output)/evaluate.json") }
    if common.json {
      try Output.json(record)
    } else {
      try Output.table(MetricsTable.rows([("", metrics)]))
    }
  }
}

/// Metrics as rows of per cents.
enum MetricsTable {
  static func rows(_ entries: [(String, Metrics)]) -> [[String]] {
    // Few attacks have a cross accuracy.
    let crossed = entries.contains { $1.cross != nil }
    return [["", "ACC", "ASR", "RA", "ASR (all images)", "ASR (no trigger)"] + (crossed ? ["cross"] : [])]
      + entries.map { name, metrics in
        [name]
          + ([metrics.acc, metrics.asr, metrics.ra, metrics.asr_all_images, metrics.asr_without_trigger]
          + (crossed ? [metrics.cross] : []))
          .map(Output.percent)
      }
  }
}
