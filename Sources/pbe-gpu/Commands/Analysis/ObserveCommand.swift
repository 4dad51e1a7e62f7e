import ArgumentParser
import Foundation
import Kernels
import PBE

/// Inspects every model of a folder.
struct ObserveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "observe",
    abstract: "Inspect every model of a sweep's folder; resumable.",
    discussion: """
      Inspects each FOLDER/NAME/model.safetensors, with the attack.json beside it where there is one, and writes \
      NAME.json to --output: for calibrate. Models that are inspected already are skipped.
      """)

  @Argument(help: "The folder of the models' folders: a sweep's output.")
  var folder: String

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Adversarial examples") var options: InspectionOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "The folder to write to.")
  var output: String

  func run() throws {
    let (backend, log) = try common.open()
    let test = try data.test()
    let checksum = test.checksum
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
      .filter { InputFile.exists("\(folder)/\($0)/model.safetensors") }.sorted()
    guard !names.isEmpty else {
      throw PBEError(
        .missingInput, "no folder in it holds a model.safetensors", at: folder,
        remedy: "name the output folder of a sweep of infect")
    }
    try Output.makeDirectory(output)
    let settings = options.settings(imageSize: test.imageSize, seed: common.seed)
    for (index, name) in names.enumerated() {
      let place = "[\(index + 1)/\(names.count)] \(name)"
      let (path, result) = ("\(folder)/\(name)/model.safetensors", "\(output)/\(name).json")
      let subject = try LoadedModel(ModelOptions.parse([path]), path, for: test, on: backend)
      if let old = try? InspectionRecord.load(result), old.model.checksum == subject.file.state.checksum,
        old.dataChecksum == checksum, old.settings == settings
      {
        log.info("\(place): is inspected")
        continue
      }
      let attackPath = "\(folder)/\(name)/attack.json"
      let attack = InputFile.exists(attackPath) ? try AttackFile.load(attackPath) : nil
      let inspector = try Inspector(test, settings: settings, attack: attack, on: backend)
      let found = try inspector.inspect(Inspector.Models(subject.weights)) { share in
        try Interruption.check("the same command goes on")
        Terminal.shared.progress(place, (Double(index) + share) / Double(names.count))
      }
      let record = InspectionRecord(
        version: PBEGPU.version, device: backend.device, dataset: data.dataset, test: test,
        network: subject.file.specification, settings: settings, images: found.images, attack: attack,
        model: subject.record(found.model))
      try AtomicFile.write(AnalysisJSON.text(record), to: result)
      log.info("\(place): inspected")
    }
    Terminal.shared.clear()
  }
}
