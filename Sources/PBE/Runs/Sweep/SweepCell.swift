import Foundation
import Kernels

/// One run of a sweep.
public struct SweepCell: Sendable, Equatable {
  /// The name, also of its folder: its labels with dashes between them.
  public let name: String
  /// The label on each axis.
  public let labels: [String: String]
  /// The options of the command, variables not yet replaced.
  public private(set) var options: [String: SweepOption] = [:]

  init(name: String, labels: [String: String]) {
    self.name = name
    self.labels = labels
  }

  mutating func set(_ changes: [String: SweepOption?]) {
    for (key, value) in changes { options[key] = value }
  }

  /// The arguments of the command: options, with the axes' labels and then `variables` put in place of `${NAME}`. The
  /// option `model` is a positional argument of the commands that have it. Throws `usage` for a variable without a value.
  public func arguments(_ variables: (_ name: String) -> String?) throws -> [String] {
    var arguments: [String] = []
    for (key, value) in options.sorted(by: { $0.key < $1.key }) {
      switch value {
      case .flag(let isGiven): if isGiven { arguments.append("--\(key)") }
      case .text(let text):
        let value = try expanded(text, variables)
        arguments.append(key == "model" ? value : "--\(key)=\(value)")
      }
    }
    return arguments
  }

  private func expanded(_ text: String, _ variables: (String) -> String?) throws -> String {
    var (result, rest) = ("", text[...])
    while let start = rest.range(of: "${"), let end = rest[start.upperBound...].firstIndex(of: "}") {
      let name = String(rest[start.upperBound..<end])
      guard let value = labels[name] ?? variables(name) else {
        throw PBEError(
          .usage, "the variable \(name.printable()) has no value", at: self.name,
          remedy: "give --set \(name.printable())=VALUE, or set it in the environment")
      }
      result += rest[..<start.lowerBound] + value
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }
}

/// What `cell.json` in a cell's folder says about its last run.
public struct SweepCellRecord: Codable, Sendable {
  /// The command.
  public var command: String
  /// The options, with variables' names rather than values: those may differ from machine to machine.
  public var options: [String: SweepOption]
  /// The exit code; `nil` while it runs, or when it was killed.
  public var status: Int32?
  /// What went wrong, if anything.
  public var error: String?

  /// Creates a record.
  public init(command: String, options: [String: SweepOption], status: Int32? = nil, error: String? = nil) {
    self.command = command
    self.options = options
    self.status = status
    self.error = error
  }
}

/// The folder of a cell and what is in it.
public struct SweepCellFolder: Sendable {
  /// How far a cell is.
  public enum State: String, Sendable, Codable {
    /// Never begun.
    case missing
    /// Begun, and to be gone on with.
    case started
    /// A process is at it.
    case running
    /// All files are there.
    case finished
    /// The last run ended with an error.
    case failed
    /// Finished with other options than the file has now.
    case changed
  }

  /// The cell.
  public let cell: SweepCell
  /// The command.
  public let command: String
  /// The folder.
  public let path: String

  /// The folder of a cell in the sweep's `output`.
  public init(_ cell: SweepCell, command: String, output: String) {
    self.cell = cell
    self.command = command
    path = "\(output)/\(cell.name)"
  }

  /// The JSON that the command leaves when it is done.
  public var recordPath: String { "\(path)/\(command).json" }
  /// What the command wrote to standard error.
  public var logPath: String { "\(path)/log.txt" }
  private var statePath: String { "\(path)/cell.json" }

  /// How far the cell is.
  public var state: State {
    let own = record
    if InputFile.exists(recordPath) {
      let fits = own.map { $0.command == command && $0.options == cell.options } ?? true
      return fits ? .finished : .changed
    }
    if CellLock.isHeld(path) { return .running }
    guard let own else { return InputFile.exists("\(path)/checkpoint.safetensors") ? .started : .missing }
    return own.status.map { $0 != 0 && $0 != PBEError.Kind.interrupted.rawValue } ?? false
      ? .failed : .started
  }

  /// What `cell.json` says; `nil` when it is missing or can't be read.
  public var record: SweepCellRecord? {
    guard let bytes = try? InputFile.read(statePath, limit: 1 << 20, remedy: "") else { return nil }
    return try? JSONDecoder().decode(SweepCellRecord.self, from: Data(bytes))
  }

  /// Writes `cell.json`. Throws as ``AtomicFile`` does.
  public func write(status: Int32?, error: String? = nil) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let record = SweepCellRecord(command: command, options: cell.options, status: status, error: error)
    try AtomicFile.write(Array(try encoder.encode(record)) + [0x0a], to: statePath)
  }
}
