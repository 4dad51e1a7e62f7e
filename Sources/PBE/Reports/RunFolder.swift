import Foundation
import Kernels

/// What lies in a folder that `infect`, `erase` or `inspect` wrote, as far as it can be read.
struct RunFolder: Sendable {
  /// What a run did.
  enum Kind: String, Sendable { case infection, erasing, inspection, unknown }

  /// Where it lies.
  let path: String
  /// What it did.
  private(set) var kind = Kind.unknown
  /// What is wrong, or missing, in words.
  private(set) var problems: [String] = []
  /// `report.json` or `infect.json`.
  private(set) var record: StrictJSON?
  /// The settings and the progress of a run that is not finished, and its device.
  private(set) var unfinished: Unfinished?
  /// `attack.json`.
  private(set) var attack: StrictJSON?
  /// `agreement.csv`.
  private(set) var agreement: [AgreementTable.Row]?
  /// The metadata of `model.safetensors`.
  private(set) var model: [String: String]?
  /// `inspection.json`.
  private(set) var inspection: StrictJSON?
  /// The classes' names, and the contact sheets.
  private(set) var classes: [String]?, pictures: [RunSheets.Picture] = []

  /// What a checkpoint tells.
  struct Unfinished: Sendable {
    let settings: StrictJSON, progress: StrictJSON
    let device: String
  }

  /// Reads the folder. `version` is the program's. Throws `missingInput` when there is no such folder, and `badData` when
  /// nothing in it can be read as part of a run.
  init(_ path: String, version: String) throws {
    let remedy = "name a folder that infect, erase or inspect wrote"
    try InputFile.checkFolder(path, remedy: remedy)
    self.path = path
    readRecord()
    readCheckpoint()
    attack = part("attack.json") { try StrictJSON.read($0, limit: PoisonRecord.largestFile) }
    agreement = part(AgreementTable.name) { try AgreementTable.read($0) }
    model = part("model.safetensors") { try Checkpoint.load($0).metadata }
    inspection = part("inspection.json") { try StrictJSON.read($0) }
    if inspection != nil, inspectedModels.isEmpty { problems.append("inspection.json holds no findings") }
    let sheets = part(RunSheets.record) { _ in try RunSheets.read(in: path) }
    classes =
      sheets?.classes ?? inspection?["class_names"]?.elements.map { $0.text ?? "" }
    pictures = sheets?.pictures ?? []
    if kind == .unknown, agreement != nil { kind = .erasing }
    if kind == .unknown, inspection != nil { kind = .inspection }
    guard
      record != nil || unfinished != nil || attack != nil || agreement != nil || model != nil
        || inspection != nil
    else {
      let found = problems.isEmpty ? "the folder holds no run" : problems.joined(separator: "; ")
      throw PBEError(.badData, found, at: path, remedy: remedy)
    }
    noteWhatIsMissing(version)
  }

  /// Reads one of the folder's files; a missing one is `nil`, a damaged one a problem.
  private mutating func part<Value>(_ name: String, _ read: (String) throws -> Value) -> Value? {
    let place = "\(path)/\(name)"
    guard InputFile.exists(place) else { return nil }
    do { return try read(place) } catch let error as PBEError {
      // Of the place only the file's name: the page says once where the folder lies.
      let file = error.place.map { URL(fileURLWithPath: $0).lastPathComponent } ?? name
      problems.append("\(name) can't be read: \(file == name ? "" : "\(file): ")\(error.what)")
    } catch {
      problems.append("\(name) can't be read")
    }
    return nil
  }

  private mutating func readRecord() {
    for (name, kind) in [
      ("report.json", Kind.erasing), ("infect.json", .infection), ("erase.json", .erasing),
    ]
    where InputFile.exists("\(path)/\(name)") && record == nil {
      self.kind = kind
      guard let found = part(name, { try StrictJSON.read($0) }) else { continue }
      record = found
      if name == "erase.json" {
        problems.append("an older version of pbe-gpu wrote this run: its record is erase.json")
      }
    }
  }

  private mutating func readCheckpoint() {
    let found = part("checkpoint.safetensors") { place in
      let checkpoint = try RunCheckpoint.read(place)
      let settings = checkpoint.identity.values.sorted { $0.key < $1.key }.map { name, text in
        (name: name, value: (try? StrictJSON.parse(Array(text.utf8)[...], place: place)) ?? .string(text))
      }
      return Unfinished(
        settings: .object(settings), progress: try checkpoint.progressJSON(), device: checkpoint.device)
    }
    guard let found else { return }
    unfinished = found
    if kind == .unknown { kind = found.progress["history"] == nil ? .erasing : .infection }
  }

  private mutating func noteWhatIsMissing(_ version: String) {
    if InputFile.exists("\(path)/checkpoint.safetensors") {
      problems.append(
        record == nil
          ? "the run is not finished: the same command with --resume goes on from its checkpoint"
          : "a checkpoint is there beside the record: a newer run in the same folder is not finished")
    }
    if let written = (record ?? inspection)?["version"]?.text, written != version {
      problems.append("pbe-gpu \(written) wrote this run; the report is by \(version)")
    }
    guard kind == .erasing || kind == .infection else { return }
    if record == nil, unfinished == nil { problems.append("there is no record of the run") }
    if record != nil, !InputFile.exists("\(path)/model.safetensors") {
      problems.append("model.safetensors is missing")
    }
    guard let record else { return }
    if record["identification"] != nil, !InputFile.exists("\(path)/\(AgreementTable.name)") {
      problems.append("\(AgreementTable.name) is missing")
    }
    let expected =
      kind == .erasing
      ? ["version", "settings", "before", "after", "steps", "seconds"]
      : ["version", "metrics", "history", "seconds"]
    let missing = expected.filter { record[$0] == nil }
    if !missing.isEmpty {
      problems.append(
        "the record lacks \(missing.joined(separator: ", ")): another version wrote it, or it is damaged")
    }
    if let agreement, let images = record["images"]?.number, Double(agreement.count) != images {
      problems.append(
        "agreement.csv has \(agreement.count) images, but the record tells of \(Int(clamping: images))")
    }
    if agreement?.first.map({ $0.probability == nil }) ?? false {
      problems.append("agreement.csv has no probabilities: an older version wrote it")
    }
  }

  /// Whether the run is finished, and all that it should have left can be read.
  var isWhole: Bool { problems.isEmpty }
}

extension Int {
  /// The whole number nearest to `value`, or the largest or smallest there is.
  init(clamping value: Double) { self = Int(exactly: value.rounded()) ?? (value > 0 ? .max : .min) }
}
