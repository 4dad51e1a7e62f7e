/// What went wrong, where, and what to do about it: the one error type that leaves this project's modules.
///
/// The raw value of its ``Kind`` is the exit code of the command (sysexits.h).
public struct PBEError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The class of a failure; the raw value is the process's exit code.
  public enum Kind: Int32, Sendable {
    /// The command line asks for something that makes no sense.
    case usage = 64
    /// A file is there, but its contents are wrong.
    case badData = 65
    /// A file or directory is missing or can't be read.
    case missingInput = 66
    /// A compute device is missing or failed.
    case device = 69
    /// A defect of this program.
    case `internal` = 70
    /// An output file can't be created.
    case cannotCreate = 73
    /// Reading or writing failed midway (disk full, for one).
    case inputOutput = 74
    /// Stopped by a signal; commands that have checkpoints have left one, and can go on.
    case interrupted = 75
  }

  /// The class of the failure.
  public let kind: Kind
  /// What was wrong, in one sentence without a full stop.
  public let what: String
  /// The file, device or option concerned.
  public let place: String?
  /// What the user can do.
  public let remedy: String?

  /// Creates an error; `what` is one sentence without a full stop.
  public init(_ kind: Kind, _ what: String, at place: String? = nil, remedy: String? = nil) {
    self.kind = kind
    self.what = what
    self.place = place
    self.remedy = remedy
  }

  /// One line: place, what, remedy.
  public var description: String {
    var line = place.map { $0.isEmpty ? "\"\": " : "\($0): " } ?? ""
    line += what
    if let remedy { line += "; \(remedy)" }
    return String(line.map { $0.isNewline ? " " : $0 }).escaping {
      [.control, .format].contains($0.properties.generalCategory)
    }
  }
}
