import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// Inspects every model of a folder.
struct ObserveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "observe",
    abstract: "Inspect every model of a sweep's folder; resumable.",
    discussion: """
      Inspects each FOLDER/NAME/model.safetensors, with the attack.json beside it where there is one, and writes \
      NAME.json to --output: for calibrate. Without an attack.json a model counts as benign; purified ones, which erase wrote, \
      are left out. Models that are inspected already are skipped. Where there are benign models \
      and infected ones of every target, it prints the mean diagonals of the matrices of target label and answer; --figure \
      draws these.
      """)

  @Argument(help: "The folder of the models' folders: a sweep's output.")
  var folder: String

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Adversarial examples") var options: InspectionOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "The folder of the inspections to write.")
  var output: String

  @Option(
    help: "A folder to write the figure to: an SVG file per size of perturbations, and observations.md.")
  var figure: String?

  func validate() throws { try data.checkTestOnly() }

  func run() throws {
    let (backend, log) = try common.open()
    let test = try data.test()
    let checksum = test.checksum
    let attacks = try attacks(log)
    let names = attacks.map(\.name)
    guard !names.isEmpty else {
      throw PBEError(
        .missingInput, "no folder in it holds a model.safetensors that erase did not write", at: folder,
        remedy: "name the output folder of a sweep of infect")
    }
    // Better now than after hours of work.
    let targets = Set(attacks.compactMap { $0.attack.flatMap { $0.mode == .allToOne ? $0.target : nil } })
    let suffice = attacks.contains { $0.attack == nil } && (0..<test.classes).allSatisfy(targets.contains)
    guard figure == nil || suffice else { throw noFigure }
    try Output.makeDirectory(output)
    if let figure { try Output.makeDirectory(figure) }
    var records: [InspectionRecord] = []
    let settings = options.settings(imageSize: test.imageSize, seed: common.seed)
    for (index, (name, attack)) in attacks.enumerated() {
      let place = "[\(index + 1)/\(names.count)] \(name)"
      let (path, result) = ("\(folder)/\(name)/model.safetensors", "\(output)/\(name).json")
      let subject = try LoadedModel(ModelOptions.parse(["--", path]), path, for: test, on: backend)
      if let old = try? InspectionRecord.load(result), old.model.checksum == subject.file.state.checksum,
        old.dataChecksum == checksum, old.dataset == data.dataset.rawValue, old.settings == settings,
        old.version == PBEGPU.version, old.precision == backend.device.precision,
        try old.attack == attack.map(InspectionRecord.Attack.init)
      {
        log.info("\(place): is inspected")
        records.append(old)
        continue
      }
      let found = try Inspector.inspect(
        Inspector.Models(subject.weights), test: test, attack: attack, settings: settings
      ) { share in
        try Interruption.check("the same command goes on")
        Terminal.shared.progress(place, (Double(index) + share) / Double(names.count))
      }
      let record = try InspectionRecord(
        version: PBEGPU.version, device: backend.device, dataset: data.dataset, test: test,
        network: subject.file.specification, settings: settings, images: found.images, attack: attack,
        model: subject.record(found.model))
      try AtomicFile.write(AnalysisJSON.text(record), to: result)
      log.info("\(place): inspected")
      records.append(record)
    }
    Terminal.shared.clear()
    try print(records, names)
  }

  /// The models to inspect, by the names of their folders, and their attacks; `nil` for benign ones.
  private func attacks(_ log: Logger) throws -> [(name: String, attack: AttackFile?)] {
    try FolderListing.names(in: folder).compactMap { name in
      let (model, attack) = ("\(folder)/\(name)/model.safetensors", "\(folder)/\(name)/attack.json")
      guard InputFile.exists(model) else { return nil }
      guard try Checkpoint.load(model).metadata["purified_from"] == nil else {
        log.info("\(name): is purified, and left out")
        return nil
      }
      return (name, InputFile.exists(attack) ? try AttackFile.load(attack) : nil)
    }
  }

  private var noFigure: PBEError {
    PBEError(
      .badData, "a figure needs benign models, and all-to-one models of every target", at: folder,
      remedy: "see experiments/observations.yaml")
  }

  private struct Record: Encodable {
    struct Model: Encodable {
      var name: String, attack: InspectionRecord.Attack?, acc: Double, asr: Double?, targetShare: [Double?]
    }
    struct Diagonal: Encodable {
      var budget: Budget, benign: Double, infected: Double
    }
    var budgets: [Budget], models: [Model], diagonals: [Diagonal]?
  }

  private func print(_ records: [InspectionRecord], _ names: [String]) throws {
    let drawn = ObservationFigure(records)
    if let figure {
      guard let drawn else { throw noFigure }
      for part in drawn.parts {
        let name = part.budget.name.lowercased().replacingOccurrences(of: " ", with: "-")
        try AtomicFile.write(drawn.svg(part), to: "\(figure)/matrix-\(name).svg")
      }
      try AtomicFile.write(drawn.markdown, to: "\(figure)/observations.md")
    }
    let budgets = records.first?.settings.budgets ?? []
    if common.json {
      return try Output.json(
        Record(
          budgets: budgets,
          models: zip(names, records).map { name, record in
            let findings = record.model.findings
            return Record.Model(
              name: name, attack: record.attack, acc: findings.acc, asr: findings.asr,
              targetShare: findings.budgets.map(\.targetShare))
          },
          diagonals: drawn?.parts.map {
            Record.Diagonal(budget: $0.budget, benign: $0.benignDiagonal, infected: $0.infectedDiagonal)
          }))
    }
    try Output.table(
      [["model", "ACC", "ASR"] + budgets.map { "target at \($0.name)" }]
        + zip(names, records).map { name, record in
          let findings = record.model.findings
          return [name, Output.percent(findings.acc), Output.percent(findings.asr)]
            + findings.budgets.map { Output.percent($0.targetShare) }
        })
    for part in drawn?.parts ?? [] {
      try Output.line(
        "\(part.budget.name): mean diagonal \(Output.percent(part.benignDiagonal))% benign, "
          + "\(Output.percent(part.infectedDiagonal))% infected")
    }
  }
}
