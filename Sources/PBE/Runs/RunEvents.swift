import Foundation
import Kernels

/// One line of `events.jsonl`, the diary of a run: what happened, when, and the numbers that belong to it.
public struct RunEvent: Codable, Sendable, Equatable {
  /// What happened.
  public enum Kind: String, Codable, Sendable {
    /// A process began the run, or went on with it from its checkpoint.
    case start, resume
    /// An epoch of `infect`, or a step of `erase`, was finished.
    case epoch, step
    /// A checkpoint was written.
    case checkpoint
    /// The process ended: by a signal, by an error, or with everything done.
    case interrupted, failed, finished
  }

  /// What happened.
  public var event: Kind
  /// When, in UTC: `2026-01-31T12:34:56.789Z`.
  public var time = ""
  /// The process, for `start` and `resume`.
  public var process: Int32?
  /// The device, for `start` and `resume`.
  public var device: String?
  /// The number of the epoch, from 1, or of the step, from 0.
  public var number: Int?
  /// The mean loss of the epoch.
  public var loss: Double?
  /// The model after it, where it was measured.
  public var metrics: Metrics?
  /// Seconds of the run so far, for `finished`.
  public var seconds: Double?
  /// The exit code and the message, for `failed` and `interrupted`.
  public var code: Int32?, message: String?

  /// Creates an event; ``RunEvents`` sets the time.
  public init(_ event: Kind) { self.event = event }
}

/// `events.jsonl` in a run's folder, one JSON object a line. Lines are added whole and never changed. The file is locked
/// while a process is at the run, so that it also keeps a second one away.
public final class RunEvents {
  /// The name of the file.
  public static let fileName = "events.jsonl"

  private let descriptor: Int32
  private let encoder = JSONEncoder()
  private let clock: () -> Date

  /// Opens the file in `folder`, which must exist, and takes the lock. Throws `cannotCreate` when the file can't be created
  /// or another process is at the run.
  public init(_ folder: String, clock: @escaping () -> Date = { Date() }) throws {
    let path = "\(folder)/\(Self.fileName)"
    let descriptor = retryingOnInterrupt { open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o666) }
    guard descriptor >= 0 else { throw AtomicFile.creatingFailed(errno, path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
      close(descriptor)
      throw PBEError(
        .cannotCreate, "another process is at the run in this folder", at: folder,
        remedy: "wait until it is finished, or choose another --output")
    }
    self.descriptor = descriptor
    self.clock = clock
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A process that was killed may have left half a line.
    if let size = Self.size(descriptor), size > 0 {
      var last: UInt8 = 0
      if pread(descriptor, &last, 1, size - 1) == 1, last != 0x0a { write([0x0a]) }
    }
  }

  deinit { close(descriptor) }

  /// Adds a line. What can't be written is left out: the run matters more than its diary, and the next checkpoint will say
  /// that the disk is full.
  public func add(_ event: RunEvent) {
    var event = event
    event.time = Date.ISO8601FormatStyle(includingFractionalSeconds: true).format(clock())
    guard let line = try? encoder.encode(event) else { return }
    write(Array(line) + [0x0a])
  }

  /// Adds that everything is done.
  public func finished(_ metrics: Metrics, seconds: Double) {
    var event = RunEvent(.finished)
    event.metrics = metrics
    event.seconds = seconds
    add(event)
  }

  /// Does the work of a run, and adds how it ended when it throws.
  public func ending<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch {
      let known = error as? PBEError
      var event = RunEvent(known?.kind == .interrupted ? .interrupted : .failed)
      event.code = (known?.kind ?? .internal).rawValue
      event.message = known?.description ?? "\(error)"
      add(event)
      throw error
    }
  }

  /// One call, so that the line is there whole or, on a full disk, cut off.
  private func write(_ bytes: [UInt8]) {
    _ = retryingOnInterrupt { Foundation.write(descriptor, bytes, bytes.count) }
  }

  private static func size(_ descriptor: Int32) -> off_t? {
    var info = stat()
    return fstat(descriptor, &info) == 0 ? info.st_size : nil
  }

  /// The events in the file at `path`; lines that are cut off or of a later version are left out. Throws `missingInput`.
  public static func read(_ path: String) throws -> [RunEvent] {
    let bytes = try InputFile.read(path, limit: 1 << 30, remedy: "name the folder of a run")
    return bytes.split(separator: 0x0a).compactMap {
      try? JSONDecoder().decode(RunEvent.self, from: Data($0))
    }
  }
}
