import ArgumentParser
import Foundation
import Kernels
import PBE

/// Looks at what a model answers to adversarial examples.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Tell by its adversarial examples whether a model looks infected; no trigger is needed.",
    discussion: """
      Makes untargeted adversarial examples of test images that the model classifies right, and counts its answers to \
      them: an infected model often answers with the attacker's label. With --attack, it also measures how like \
      triggered images they are. Sizes are in units of 1/255.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Adversarial examples") var options: InspectionOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "The attack, as a JSON file (docs/attacks.md): to compare with triggered images.")
  var attack: String?

  @Option(help: "A model of the same network that is known to be benign, to compare with.")
  var benign: String?

  @Option(help: "The purified model.")
  var purified: String?

  @Option(help: "A folder to write inspection.json and heat maps to.")
  var output: String?

  func run() throws {
    let (backend, _) = try common.open()
    let test = try data.test()
    let attack = try attack.map { try AttackFile.load($0) }
    let subject = try LoadedModel(model, model.model, for: test, on: backend)
    let control = try benign.map { try LoadedModel(model, $0, for: test, on: backend) }
    let repaired = try purified.map { try LoadedModel(model, $0, for: test, on: backend) }
    if let output { try Output.makeDirectory(output) }

    let settings = options.settings(imageSize: test.imageSize, seed: common.seed)
    let inspector = try Inspector(test, settings: settings, attack: attack, on: backend)
    let models = Inspector.Models(
      subject.weights, benign: control?.weights, purified: repaired?.weights)
    let found = try inspector.inspect(models) { share in
      try Interruption.check("run the command again")
      Terminal.shared.progress("inspecting", share)
    }
    Terminal.shared.clear()
    let record = InspectionRecord(
      version: PBEGPU.version, device: backend.device, dataset: data.dataset, test: test,
      network: subject.file.specification, settings: settings, images: found.images, attack: attack,
      model: subject.record(found.model),
      benign: found.benign.flatMap { control?.record($0) },
      purified: found.purified.flatMap { repaired?.record($0) })
    if let output { try write(record, to: output) }
    if common.json { try Output.line(AnalysisJSON.text(record)) }
  }

  private func write(_ record: InspectionRecord, to output: String) throws {
    try AtomicFile.write(AnalysisJSON.text(record), to: "\(output)/inspection.json")
  }
}
