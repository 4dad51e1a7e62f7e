import Foundation
import Kernels
import Logging
import PBE

/// A record that tells whose run it is of.
protocol RunRecord: Decodable {
  /// ``RunIdentity/checksum``.
  var settings_checksum: String { get }
}

/// The files in the output folder of a run that can go on after an interruption.
struct RunFiles {
  let folder: String, model: String, record: String, checkpoint: String
  /// What is there besides the model and the record, when the run is finished.
  var others: [String]

  /// Those in `folder`; `record` is the name of the one that tells how the run went, `others` those of more that it leaves.
  init(_ folder: String, record name: String, others: [String] = []) {
    self.folder = folder
    self.others = others
    model = "\(folder)/model.safetensors"
    record = "\(folder)/\(name)"
    checkpoint = "\(folder)/checkpoint.safetensors"
  }

  /// The record of a run that has written all its files, and its text; `nil` when there is none, or none that can be read.
  /// A checkpoint that the run still has is deleted: nothing is left to go on with.
  /// Throws `usage` when it is of another run, and as ``InputFile`` does.
  func finished<Record: RunRecord>(
    _ identity: RunIdentity, as type: Record.Type, _ log: Logger
  ) throws -> (record: Record, text: String)? {
    guard InputFile.exists(record), InputFile.exists(model) else { return nil }
    let bytes = try InputFile.read(record, limit: 1 << 28, remedy: "delete the file to start over")
    guard let found = Self.decode(type, bytes) else {
      log.warning("\(record) is damaged: the run is not taken for finished")
      return nil
    }
    guard found.settings_checksum == identity.checksum else {
      throw PBEError(
        .usage, "the run that is finished here had other options or data", at: record,
        remedy: "give the same, choose another --output, or leave --resume away to replace it")
    }
    if let damage {
      log.warning("\(damage): the run is not taken for finished")
      return nil
    }
    // The process may have been killed between its last two steps.
    removeCheckpoint()
    return (found, String(decoding: bytes, as: UTF8.self))
  }

  private static func decode<Record: RunRecord>(_ type: Record.Type, _ bytes: [UInt8]) -> Record? {
    try? JSONDecoder().decode(type, from: Data(bytes))
  }

  /// What is wrong with the files that a finished run leaves beside its record; `nil` for nothing.
  private var damage: String? {
    if let missing = ([model] + others.map { "\(folder)/\($0)" }).first(where: { !InputFile.exists($0) }) {
      return "\(missing) is missing"
    }
    return (try? Checkpoint.load(model)) == nil ? "\(model) is damaged" : nil
  }

  /// Whether the run with this checksum has written all its files.
  private func isFinished(_ checksum: String) -> Bool {
    struct Whose: RunRecord { var settings_checksum: String }
    guard let bytes = try? InputFile.read(record, limit: 1 << 28, remedy: ""), damage == nil else {
      return false
    }
    return Self.decode(Whose.self, bytes)?.settings_checksum == checksum
  }

  /// Makes the folder and keeps other processes away from it while the result lives; writes `run.json`. Unless the run goes on
  /// from a checkpoint, the files that another run left are deleted: they would be taken for this one's. Those of its steps
  /// stay while there is its checkpoint, which may be gone on with yet. Throws as ``Output/makeDirectory(_:)`` and
  /// ``AtomicFile`` do, and `cannotCreate` when another process is at the run, or has finished it meanwhile.
  func begin(_ manifest: RunManifest, resuming: Bool, _ log: Logger) throws -> RunEvents {
    try Output.makeDirectory(folder)
    let events = try RunEvents(folder)
    // It was not when this process looked, before it loaded the model.
    if resuming, !hasCheckpoint, isFinished(manifest.settings_checksum) {
      throw PBEError(
        .cannotCreate, "another process has just finished the run", at: folder,
        remedy: "the same command prints its results")
    }
    if !resuming || !hasCheckpoint {
      let old = hasCheckpoint ? results.filter { Self.step(of: $0) == nil } : results
      if !old.isEmpty { log.info("replacing the files of an earlier run in \(folder)") }
      for name in old { unlink("\(folder)/\(name)") }
    }
    try AtomicFile.write(Output.text(manifest) + "\n", to: "\(folder)/run.json")
    return events
  }

  /// Says from where a run goes on, or that it could: `origin` is the device that the checkpoint was written on, `nil`
  /// without one.
  func announce(
    resuming: Bool, from origin: String?, on device: String, _ events: RunEvents, _ log: Logger
  ) {
    var event = RunEvent(origin == nil ? .start : .resume)
    event.process = getpid()
    event.device = device
    events.add(event)
    guard resuming else {
      if hasCheckpoint {
        log.warning("\(checkpoint) is there, and will be replaced: --resume would go on from it")
      }
      return
    }
    guard let origin else { return log.info("there is no checkpoint in \(checkpoint): starting") }
    log.info("going on from \(checkpoint)")
    if origin != device {
      log.warning(
        "the checkpoint is from \(origin): the result will differ by rounding from a run on one device")
    }
  }

  /// Throws `usage` when `input` is a file that a run in this folder deletes or writes.
  func check(isNot input: String) throws {
    for name in results { try Output.check(input, isNot: "\(folder)/\(name)") }
  }

  /// The names of the files here that `infect` and `erase` leave, but for the checkpoint and the attack, which other runs may need.
  private var results: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { name in
      Self.names.contains(name) || Self.step(of: name) != nil
    }
  }

  /// The number of the step that a file is the model of; `nil` for other files.
  private static func step(of name: String) -> Int? {
    let (prefix, suffix) = ("step-", ".safetensors")
    guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
    return Int(name.dropFirst(prefix.count).dropLast(suffix.count))
  }

  /// Deletes the models of other steps than these, which an earlier run left.
  func removeSteps(except steps: Set<Int> = []) {
    for name in results where Self.step(of: name).map({ !steps.contains($0) }) ?? false {
      unlink("\(folder)/\(name)")
    }
  }

  private static let names = Set(
    ["model.safetensors", "infect.json", "report.json", "report.html", AgreementTable.name, "sheets.json"]
      + SheetMaking.pictures)

  /// What to do after an interruption of the training, which leaves a checkpoint.
  var remedy: String { "the same command with --resume goes on from \(checkpoint)" }

  var hasCheckpoint: Bool { FileManager.default.fileExists(atPath: checkpoint) }

  func removeCheckpoint() { try? FileManager.default.removeItem(atPath: checkpoint) }
}
