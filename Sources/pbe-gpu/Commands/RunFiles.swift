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

  /// Those in `folder`; `record` is the name of the one that tells how the run went.
  init(_ folder: String, record name: String) {
    self.folder = folder
    model = "\(folder)/model.safetensors"
    record = "\(folder)/\(name)"
    checkpoint = "\(folder)/checkpoint.safetensors"
  }

  /// The record of a run that has written all its files, and its text; `nil` when there is none. Throws `usage` when it is of
  /// another run, and as ``InputFile`` does.
  func finished<Record: RunRecord>(
    _ identity: RunIdentity, as type: Record.Type
  ) throws -> (record: Record, text: String)? {
    guard FileManager.default.fileExists(atPath: record), FileManager.default.fileExists(atPath: model) else {
      return nil
    }
    let bytes = try InputFile.read(record, limit: 1 << 28, remedy: "delete the file to start over")
    guard let found = try? JSONDecoder().decode(type, from: Data(bytes)) else { return nil }
    guard found.settings_checksum == identity.checksum else {
      throw PBEError(
        .usage, "the run that is finished here had other options or data", at: record,
        remedy: "give the same, choose another --output, or leave --resume away to replace it")
    }
    return (found, String(decoding: bytes, as: UTF8.self))
  }

  /// Makes the folder and keeps other processes away from it while the result lives; writes `run.json`. Throws as
  /// ``Output/makeDirectory(_:)`` and ``AtomicFile`` do, and `cannotCreate` when another process is at the run.
  func begin(_ manifest: RunManifest) throws -> RunEvents {
    try Output.makeDirectory(folder)
    let events = try RunEvents(folder)
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
      if FileManager.default.fileExists(atPath: checkpoint) {
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

  /// What to do after an interruption.
  var remedy: String { "the same command with --resume goes on from \(checkpoint)" }

  /// Before the model is written: the record of another run must not be taken for that of this model.
  func removeRecord() { unlink(record) }

  func removeCheckpoint() { try? FileManager.default.removeItem(atPath: checkpoint) }
}
