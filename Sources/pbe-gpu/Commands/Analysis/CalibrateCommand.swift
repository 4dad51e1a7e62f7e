import ArgumentParser
import Foundation
import Kernels
import PBE

/// Makes a calibration of the inspections of a bank of models.
struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Make a calibration for the verdict of inspect from inspections of benign and infected models.",
    discussion: """
      Takes the folders that observe wrote. One half of the models chooses the size of perturbations and the threshold, \
      the other half tells what they are worth.
      """)

  @Argument(help: "Folders of inspections: the --output of observe.")
  var folders: [String]

  @Option(help: "The JSON file to write, for inspect --calibration.")
  var output: String

  @Option(help: "The seed that splits the models and resamples.")
  var seed: UInt64 = 0

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  func run() throws {
    Terminal.shared.configure(quiet: quiet)
    var bank: [Calibration.Entry] = []
    for folder in folders {
      let names = try FolderListing.names(in: folder).filter { $0.hasSuffix(".json") }
      guard !names.isEmpty else {
        throw PBEError(
          .missingInput, "there is no inspection in it", at: folder, remedy: "name the --output of observe")
      }
      // Where it lies among the inspections the next calibration would take it for one.
      let place = URL(fileURLWithPath: output).deletingLastPathComponent().path
      guard !Output.isSame(place, folder) else {
        throw PBEError(
          .usage, "that is a folder of inspections", at: "--output \(output)",
          remedy: "write the calibration elsewhere")
      }
      bank += try names.map {
        Calibration.Entry(name: String($0.dropLast(5)), record: try InspectionRecord.load("\(folder)/\($0)"))
      }
    }
    let calibration = try Calibration(bank, seed: seed)
    let text = try AnalysisJSON.text(calibration)
    try AtomicFile.write(text, to: output)
    if json { return try Output.json(text: String(text.dropLast())) }
    let quality = calibration.quality
    func row(_ model: Calibration.Model) -> [String] {
      let target = model.attack.map { $0.target.map { "\($0)" } ?? "all" } ?? "-"
      let half = model.isOfThresholdHalf ? "threshold" : "held out"
      return [model.name, half, String(format: "%.2f", model.score), "\(model.target)", target]
    }
    try Output.table(
      [["model", "half", "score", "suggests", "target"]]
        + calibration.models.sorted { $0.score > $1.score }.map(row))
    try Output.line(
      "size \(calibration.budget.name), threshold \(String(format: "%.2f", calibration.threshold)); held out: "
        + "\(quality.benign) benign, \(quality.infected) infected")
    try Output.line(
      "ROC area \(String(format: "%.3f (%.3f to %.3f)", quality.auc, quality.aucLow, quality.aucHigh)), detection "
        + "without false alarms \(Output.percent(quality.detectionAtZeroFalseAlarms))%; at the threshold "
        + "\(Output.percent(quality.detection))% found, \(Output.percent(quality.falseAlarms))% false alarms, "
        + "\(Output.percent(quality.targetsNamed))% of the found targets named")
    if !calibration.leftOut.isEmpty {
      try Output.line(
        "left out, since their backdoor works on fewer than half the images: "
          + calibration.leftOut.joined(separator: ", "))
    }
  }
}
