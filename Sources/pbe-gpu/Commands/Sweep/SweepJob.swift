import Foundation
import Kernels
import Logging
import PBE

/// A cell of a sweep and the command line that runs it.
struct SweepJob: Sendable {
  /// Where it computes.
  struct Slot: Sendable {
    /// The device; `nil` for the cell's own.
    var device: String?
    /// The user named the device: it goes before the cell's own.
    var isChosen = true
    /// What the child's environment has besides this process's.
    var environment: [String: String] = [:]
  }

  var folder: SweepCellFolder
  let arguments: [String]
  /// Whether the command has an option `--device`.
  let takesDevice: Bool
  /// Runs a cell again of which only the record is left.
  let remakes: Bool
  /// Waits for another process that is at it, since another cell needs it; else leaves the cell to that one.
  let isNeeded: Bool

  /// The arguments where it computes.
  func arguments(on slot: Slot) -> [String] {
    let others = arguments.filter { !$0.hasPrefix("--device=") }
    guard let device = slot.device, takesDevice, slot.isChosen || others.count == arguments.count else {
      return arguments
    }
    return others + ["--device=\(device)"]
  }

  /// Runs the cell in a child process, unless it is finished or another process is at it. A signal to this process goes
  /// on to the child, which leaves a checkpoint. Throws what went wrong, and `interrupted`.
  func run(_ log: Logger, _ place: String, on slot: Slot) throws {
    if try isSettled(log, place) { return }
    let isNew = try [.missing, .recorded].contains(folder.state)
    try Output.makeDirectory(folder.path)
    guard let lock = try lock(log, place) else { return }
    // It may have been finished before the lock was free.
    if try isSettled(log, place) { return }
    let isAnew = try folder.forgetOtherRun()
    log.info(
      "\(place): \(isAnew ? "starting anew, with other options than before" : isNew ? "starting" : "going on")"
    )
    try folder.write(status: nil, arguments: arguments)
    let failure = try withExtendedLifetime(lock) { try runChild(log, place, on: slot, lock) }
    try folder.write(
      status: failure.map(\.status) ?? 0, error: failure?.error.description, arguments: arguments)
    if let failure { throw failure.error }
    log.info("\(place): finished")
  }

  /// The cell's lock; `nil` when another process has it.
  private func lock(_ log: Logger, _ place: String) throws -> FileLock? {
    if let lock = try CellLock.take(folder.path) { return lock }
    guard isNeeded else {
      log.info("\(place): another process is at it")
      return nil
    }
    log.info("\(place): waiting for another process, which is at it")
    while true {
      try Interruption.check("the same command goes on")
      Thread.sleep(forTimeInterval: 0.5)
      if let lock = try CellLock.take(folder.path) { return lock }
    }
  }

  private func isSettled(_ log: Logger, _ place: String) throws -> Bool {
    switch try folder.state {
    case .finished:
      let others = try folder.otherArguments(than: arguments)
      let note =
        others.isEmpty
        ? ""
        : ", with other values of variables (\(ShellText.command(others))): to run it anew delete its folder"
      log.info("\(place): is finished\(note)")
      return true
    case .recorded where !remakes:
      log.info("\(place): is finished, and its record kept")
      return true
    case .changed:
      throw PBEError(
        .usage, "the cell was begun with other options than the file has now", at: folder.path,
        remedy: "move or delete the folder, and its record, to run it anew")
    case .missing, .started, .running, .failed, .recorded: return false
    }
  }

  /// The child's error, and its exit code where it had one; `nil` when it did its work.
  private func runChild(
    _ log: Logger, _ place: String, on slot: Slot, _ lock: FileLock
  ) throws -> (error: PBEError, status: Int32?)? {
    var tail = LogTail(folder.logPath)
    let child = try ChildProcess(
      arguments(on: slot), log: folder.logPath, environment: slot.environment,
      inherited: lock.descriptor)
    var stopping = false
    var end: ChildProcess.End?
    while end == nil {
      end = try child.poll()
      if end == nil { Thread.sleep(forTimeInterval: 0.1) }
      for line in tail.newLines() where !line.hasPrefix("error: ") { log.info("\(place): \(line)") }
      if !stopping, Interruption.isRequested {
        stopping = true
        child.stop()
      }
    }
    // A cell that was done before the signal reached it is done.
    if end == .exit(0), folder.isComplete(after: 0) { return nil }
    if end == .exit(PBEError.Kind.interrupted.rawValue) || stopping && Self.stops.contains(end) {
      let error = PBEError(.interrupted, "interrupted", remedy: "the same command goes on with the sweep")
      return (error, error.kind.rawValue)
    }
    let last = tail.last.map { $0.hasPrefix("error: ") ? String($0.dropFirst(7)) : $0 }
    switch end {
    case .exit(let code):
      let kind = PBEError.Kind(rawValue: code) ?? .internal
      return (PBEError(kind, last ?? "the command ended with exit code \(code)"), kind.rawValue)
    case .signal(let number):
      let error = PBEError(
        .device, "signal \(number) ended the command (9: perhaps the system was out of memory)",
        at: folder.logPath, remedy: "the same command goes on with it")
      return (error, nil)
    case nil: return (PBEError(.internal, "the command did not end"), nil)
    }
  }

  /// How a command ends that was told to stop before it could listen, or by others meanwhile.
  private static let stops: [ChildProcess.End?] = [SIGUSR1, SIGINT, SIGTERM, SIGHUP, SIGKILL].map {
    .signal($0)
  }
}

/// The lines that are added to a file.
private struct LogTail {
  private let path: String
  private var offset: UInt64
  private var rest: [UInt8] = []
  /// The last whole line.
  private(set) var last: String?

  init(_ path: String) {
    self.path = path
    offset = (try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).seekToEnd()) ?? 0
  }

  mutating func newLines() -> [String] {
    guard let handle = FileHandle(forReadingAtPath: path) else { return [] }
    defer { try? handle.close() }
    guard (try? handle.seek(toOffset: offset)) != nil, let data = try? handle.readToEnd(), !data.isEmpty
    else { return [] }
    offset += UInt64(data.count)
    rest += data
    var lines: [String] = []
    while let end = rest.firstIndex(of: 0x0a) {
      lines.append(String(decoding: rest[..<end], as: UTF8.self))
      rest.removeSubrange(...end)
    }
    last = lines.last ?? last
    return lines
  }
}
