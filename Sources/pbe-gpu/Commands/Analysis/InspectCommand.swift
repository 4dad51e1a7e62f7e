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

  @Option(help: "A calibration that calibrate wrote. Default: the built-in one.")
  var calibration: String?

  @Option(help: "A folder to write inspection.json and heat maps to.")
  var output: String?

  func validate() throws { try data.checkTestOnly() }

  func run() throws {
    let (backend, _) = try common.open()
    let test = try data.test()
    let calibration = try calibration.map { try Calibration.load($0) } ?? Calibration.builtIn()
    let attack = try attack.map { try AttackFile.load($0) }
    let subject = try LoadedModel(model, model.model, for: test, on: backend)
    let control = try benign.map { try LoadedModel(model, $0, for: test, on: backend) }
    let repaired = try purified.map { try LoadedModel(model, $0, for: test, on: backend) }
    if let output { try Output.makeDirectory(output) }

    var settings = options.settings(imageSize: test.imageSize, seed: common.seed)
    // The verdict is about this size.
    if !settings.budgets.contains(calibration.budget) { settings.budgets.append(calibration.budget) }
    let models = Inspector.Models(
      subject.weights, benign: control?.weights, purified: repaired?.weights)
    let found = try Inspector.inspect(models, test: test, attack: attack, settings: settings) { share in
      try Interruption.check("run the command again")
      Terminal.shared.progress("inspecting", share)
    }
    Terminal.shared.clear()
    var record = try InspectionRecord(
      version: PBEGPU.version, device: backend.device, dataset: data.dataset, test: test,
      network: subject.file.specification, settings: settings, images: found.images, attack: attack,
      model: subject.record(found.model), benign: found.benign.flatMap { control?.record($0) },
      purified: found.purified.flatMap { repaired?.record($0) })
    record.verdict = Verdict(found.model, of: record, by: calibration)
    record.purifiedVerdict = found.purified.flatMap { Verdict($0, of: record, by: calibration) }
    if let output { try write(record, to: output) }
    if common.json { return try Output.json(record) }
    try print(record, size: calibration.budget)
  }

  private func write(_ record: InspectionRecord, to output: String) throws {
    // Those of an earlier inspection would be taken for this one's.
    for name in try FolderListing.names(in: output) where Self.writes(name) { unlink("\(output)/\(name)") }
    for (name, model) in Self.models(record) {
      for found in model.findings.budgets {
        let size = found.budget.name.lowercased().replacingOccurrences(of: " ", with: "-")
        var panels = [MatrixPicture.Panel("\(name): shares", found.matrix.shares)]
        if let excess = found.excess {
          panels.append(MatrixPicture.Panel("above the benign model's", excess))
        }
        let picture = MatrixPicture(
          title: "Answers to adversarial examples, \(found.budget.name)",
          description:
            "Per cent of each true label's images (row) by answer (column), \(record.images) images. "
            + "\(Output.percent(found.misled))% get a wrong answer.",
          rows: "true label", columns: "answer", panels: panels)
        try AtomicFile.write(picture.svg, to: "\(output)/\(name)-\(size).svg")
      }
    }
    // Last: where it is, the pictures are.
    try AtomicFile.write(AnalysisJSON.text(record), to: "\(output)/inspection.json")
  }

  /// Whether `--output` gets files of this name: `inspection.json`, and MODEL-SIZE-NORM.svg.
  private static func writes(_ name: String) -> Bool {
    name == "inspection.json"
      || ["model", "benign", "purified"].contains { name.hasPrefix("\($0)-") }
        && ["linf", "l2"].contains { name.hasSuffix("-\($0).svg") }
  }

  private static func models(_ record: InspectionRecord) -> [(name: String, model: InspectionRecord.Model)] {
    var models: [(name: String, model: InspectionRecord.Model)] = [("model", record.model)]
    if let benign = record.benign { models.append(("benign", benign)) }
    if let purified = record.purified { models.append(("purified", purified)) }
    return models
  }

  // MARK: - Printing

  private func print(_ record: InspectionRecord, size: Budget) throws {
    let models = Self.models(record)
    for (name, model) in models {
      let asr = model.findings.asr.map { ", trigger works on \(Output.percent($0))%" } ?? ""
      try Output.line("\(name): ACC \(Output.percent(model.findings.acc))%\(asr)")
    }
    try Output.line("\(record.images) images; answers to adversarial examples:")
    let knows = record.attack != nil
    var rows = [["size", "", "misled", "entropy", "chi-square", "most answered"]]
    if record.benign != nil { rows[0].append("chi-square to benign") }
    if knows { rows[0] += ["target", "pixel cosine", "feature cosine", "neurons covered"] }
    for (index, budget) in record.settings.budgets.enumerated() {
      for (name, model) in models {
        let found = model.findings.budgets[index]
        let most = found.row.max() ?? 0
        var row = [
          budget.name, name, "\(Output.percent(found.misled))%", String(format: "%.2f", found.entropy),
          String(format: "%.0f", found.chiSquare.statistic),
          most > 0 ? "\(found.row.firstIndex(of: most) ?? 0) (\(Output.percent(most))%)" : "-",
        ]
        if record.benign != nil {
          row.append(found.chiSquareAgainstBenign.map { String(format: "%.0f", $0.statistic) } ?? "-")
        }
        if knows {
          row.append(found.targetShare.map { "\(Output.percent($0))%" } ?? "-")
          row.append(found.comparison.map { String(format: "%.3f", $0.pixels.cosine) } ?? "-")
          row.append(found.comparison.map { String(format: "%.3f", $0.features.cosineOfChanges) } ?? "-")
          row.append(found.comparison.map { "\(Output.percent($0.neurons.coverage))%" } ?? "-")
        }
        rows.append(row)
      }
    }
    try Output.table(rows)
    let classes = record.model.findings.budgets.first?.matrix.classes ?? 2
    try Output.line(
      "Uniform answers have an entropy of \(String(format: "%.2f", log2(Double(classes)))) bits and a chi-square of about "
        + "\(classes - 1).")
    if let found = record.model.findings.budgets.first(where: { $0.budget == size }), classes <= 20 {
      try Output.line("\nPer cent of each true label's images (row) by answer (column) at \(size.name):")
      try Output.table(
        [[""] + (0..<classes).map(String.init)]
          + found.matrix.shares.enumerated().map { label, row in
            ["\(label)"] + row.map { $0 > 0 ? String(format: "%.0f", 100 * $0) : "." }
          })
    }
    for (name, verdict) in [("model", record.verdict), ("purified", record.purifiedVerdict)] {
      guard let verdict else { continue }
      try print(verdict, of: name, record)
    }
  }

  private func print(_ verdict: Verdict, of name: String, _ record: InspectionRecord) throws {
    let label = record.classNames.flatMap { names in
      names.indices.contains(verdict.target) ? " (\(names[verdict.target].printable()))" : nil
    }
    let others = verdict.pattern == .permutation ? ", or each label another one" : ""
    let found = verdict.isSuspicious.map { $0 ? "SUSPICIOUS" : "not suspicious" } ?? "no verdict"
    let p = verdict.pValue.map { ", p \(String(format: "%.3f", $0))" } ?? ""
    try Output.line(
      "\n\(name): \(found); most likely target \(verdict.target)\(label ?? "")\(others); score "
        + "\(String(format: "%.2f", verdict.score)) (threshold \(String(format: "%.2f", verdict.threshold)))\(p), at "
        + verdict.budget.name)
    for note in verdict.notes { try Output.line("note: \(note)") }
  }
}
