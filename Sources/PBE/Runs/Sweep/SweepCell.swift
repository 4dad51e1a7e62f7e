import Foundation
import Kernels

/// One command of a sweep: a run, or one step of it.
public struct SweepCell: Sendable, Equatable {
  /// The name, also of its folder: its labels with dashes between them, after the name of its step where there are steps.
  public let name: String
  /// The command.
  public let command: String
  /// The step that it is; empty in a file without steps.
  public let step: String
  /// The label on each axis.
  public let labels: [String: String]
  /// The names of the cells that have to be finished before, by their steps.
  public let needs: [String: String]
  /// The options of the command, variables not yet replaced.
  public private(set) var options: [String: SweepOption] = [:]

  init(
    name: String, command: String, step: String = "", labels: [String: String], needs: [String: String] = [:]
  ) {
    self.name = name
    self.command = command
    self.step = step
    self.labels = labels
    self.needs = needs
  }

  mutating func set(_ changes: [String: SweepOption?]) {
    for (key, value) in changes { options[key] = value }
  }

  /// The arguments of the command: options, with the axes' labels and then `variables` put in place of `${NAME}`. The
  /// option `model` is a positional argument of the commands that have it, and so are the elements of `arguments`. Throws
  /// `usage` for a variable without a value.
  public func arguments(_ variables: (_ name: String) -> String?) throws -> [String] {
    var arguments: [String] = []
    for (key, value) in options.sorted(by: { $0.key < $1.key }) {
      switch value {
      case .flag(let isGiven): if isGiven { arguments.append("--\(key)") }
      case .text(let text):
        let value = try expanded(text, variables)
        arguments.append(key == "model" ? value : "--\(key)=\(value)")
      case .list(let texts):
        let prefix = key == "arguments" ? "" : "--\(key)="
        arguments += try texts.map { prefix + (try expanded($0, variables)) }
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

/// A number, text or truth value of a cell's record.
public struct SweepValue: Sendable, Equatable, Encodable {
  /// As it was printed.
  public let text: String
  private let isText: Bool

  /// `nil` for other JSON.
  init?(_ json: StrictJSON) {
    switch json {
    case .bool(let flag): (text, isText) = ("\(flag)", false)
    case .integer(let number): (text, isText) = ("\(number)", false)
    case .otherNumber(let number): (text, isText) = (number, false)
    case .string(let string): (text, isText) = (string, true)
    case .null, .array, .object: return nil
    }
  }

  /// In JSON it is what it was in the record.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if isText { return try container.encode(text) }
    if let flag = Bool(text) { return try container.encode(flag) }
    if let number = Int(text) { return try container.encode(number) }
    // JSON has larger numbers than `Double`, whose infinity it has no text for.
    guard let number = Double(text), number.isFinite else { return try container.encode(text) }
    try container.encode(number)
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
  /// The command's arguments, with the variables' values.
  public var arguments: [String]?

  /// Creates a record.
  public init(
    command: String, options: [String: SweepOption], status: Int32? = nil, error: String? = nil,
    arguments: [String]? = nil
  ) {
    self.command = command
    self.options = options
    self.status = status
    self.error = error
    self.arguments = arguments
  }
}

/// The folder of a cell and what is in it.
public struct SweepCellFolder: Sendable {
  /// How far a cell is.
  public enum State: String, Sendable, Codable, CaseIterable {
    /// Never begun.
    case missing
    /// Begun, and to be gone on with.
    case started
    /// A process is at it.
    case running
    /// All files are there.
    case finished
    /// Its record is kept, but its folder is not here: it was finished elsewhere.
    case recorded
    /// The last run ended with an error.
    case failed
    /// Begun or finished, with other options than the file has now.
    case changed

    /// There are results.
    public var isDone: Bool { self == .finished || self == .recorded }
  }

  /// The cell.
  public let cell: SweepCell
  /// The folder.
  public let path: String
  /// Where the cell's record is kept for good, also without its folder; `nil` for nowhere.
  public let keptPath: String?
  /// Folders of this machine by their absolute paths, and what stands for them in records that are kept.
  public var places: [String: String] = [:]

  /// The folder of a cell in the sweep's `output`; `records` is where records are kept for good.
  public init(_ cell: SweepCell, output: String, records: String? = nil) {
    self.cell = cell
    path = "\(output)/\(cell.name)"
    keptPath = records.map { "\($0)/\(cell.name).json" }
  }

  /// The records that commands write last, when all their other files are there. Of other commands the exit code tells
  /// whether they are done.
  private static let lastFiles = [
    "infect": "infect.json", "erase": "report.json", "evaluate": "evaluate.json",
    "inspect": "inspection.json",
  ]

  /// The JSON that the command leaves.
  public var recordPath: String { "\(path)/\(Self.lastFiles[cell.command] ?? "\(cell.command).json")" }
  /// What the command's option `--output` gets: the folder, or the file in it.
  public var outputPath: String { cell.command == "report" ? "\(path)/report.html" : path }
  /// What the command leaves besides its record: the model, and a page, which comes after the record.
  private var otherPaths: [String] {
    var names = ["infect", "erase"].contains(cell.command) ? ["model.safetensors"] : []
    if cell.command == "erase", case .flag(true) = cell.options["report"] { names.append("report.html") }
    return names.map { "\(path)/\($0)" }
  }
  /// Whether the command has done all its work when it has ended with an exit code, or has not ended.
  public func isComplete(after status: Int32?) -> Bool {
    guard Self.lastFiles[cell.command] != nil else { return status == 0 }
    return ([recordPath] + otherPaths).allSatisfy(InputFile.exists)
  }

  /// What the command wrote to standard error.
  public var logPath: String { "\(path)/log.txt" }
  private var statePath: String { "\(path)/cell.json" }
  private var checkpointPath: String { "\(path)/checkpoint.safetensors" }

  /// How far the cell is. Throws `badData` when its kept record can't be read.
  public var state: State {
    get throws {
      let own = try record
      if isComplete(after: own?.status) {
        return own.map(fits) ?? true ? .finished : .changed
      }
      if CellLock.isHeld(path) { return .running }
      if let kept = try kept { return fits(kept.cell) ? .recorded : .changed }
      guard let own else { return InputFile.exists(checkpointPath) ? .started : .missing }
      if own.status.map({ $0 != 0 && $0 != PBEError.Kind.interrupted.rawValue }) ?? false { return .failed }
      return fits(own) ? .started : .changed
    }
  }

  /// Deletes the checkpoint and the command's record of a run with other options than the file has now: options may be what
  /// made it fail. Throws as ``record``.
  ///
  /// - Returns: whether the last run had others.
  public func forgetOtherRun() throws -> Bool {
    guard let own = try record, !fits(own) else { return false }
    unlink(checkpointPath)
    unlink(recordPath)
    return true
  }

  /// The last run's arguments that are not among those of now, since variables have other values; empty where nobody knows.
  public func otherArguments(than arguments: [String]) throws -> [String] {
    try record?.arguments?.filter { !arguments.contains($0) } ?? []
  }

  private func fits(_ record: SweepCellRecord) -> Bool {
    record.command == cell.command && record.options == cell.options
  }

  /// A cell's record as it is kept: what `cell.json` says, and the command's record.
  private struct Kept: Decodable {
    var cell: SweepCellRecord
  }

  private var kept: Kept? {
    get throws {
      guard let keptPath, InputFile.exists(keptPath) else { return nil }
      let bytes = try InputFile.read(keptPath, limit: 1 << 28, remedy: Self.remedy)
      do { return try JSONDecoder().decode(Kept.self, from: Data(bytes)) } catch {
        throw PBEError(.badData, "this is no record of a cell", at: keptPath, remedy: Self.remedy)
      }
    }
  }

  private static let remedy = "delete the file, and run the sweep again"

  /// The numbers, texts and truth values of the command's record by path, `metrics.acc`; empty where there is none.
  /// Throws `badData` for a record that is no JSON.
  func values(_ state: State) throws -> [String: SweepValue] {
    let path: String
    switch state {
    case .finished: path = recordPath
    case .recorded: path = keptPath ?? recordPath
    default: return [:]
    }
    // Some commands have none.
    guard InputFile.exists(path) else { return [:] }
    let bytes = try InputFile.read(path, limit: 1 << 28, remedy: Self.remedy)
    var result: [String: SweepValue] = [:]
    func walk(_ value: StrictJSON, _ path: String) {
      switch value {
      case .object(let members):
        for (name, value) in members { walk(value, path.isEmpty ? name : "\(path).\(name)") }
      default: result[path] = SweepValue(value)
      }
    }
    let json = try StrictJSON.parse(bytes[...], place: path)
    guard state == .recorded else {
      walk(json, "")
      return result
    }
    if case .object(let members) = json {
      for (name, value) in members where name == "record" { walk(value, "") }
    }
    return result
  }

  /// Keeps the record of a finished cell for good, where that is asked for; not one that the sweep did not make: nobody
  /// knows its options. Throws `badData` for a record that is no JSON, and as ``AtomicFile`` does.
  public func keep() throws {
    guard let keptPath, try state == .finished, try self.record != nil, InputFile.exists(recordPath) else {
      return
    }
    let record = try InputFile.read(recordPath, limit: 1 << 28, remedy: Self.remedy)
    guard case .object = try StrictJSON.parse(record[...], place: recordPath) else {
      throw PBEError(.badData, "this is no record of a cell", at: recordPath, remedy: Self.remedy)
    }
    let cell = SweepCellRecord(command: cell.command, options: cell.options, status: 0)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // The record's own text: its numbers stay as they were printed.
    let own = String(decoding: record, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    let text =
      "{\n\"cell\" : \(String(decoding: try encoder.encode(cell), as: UTF8.self)),\n\"record\" : "
      + named(own) + "\n}\n"
    let old = try? InputFile.read(keptPath, limit: 1 << 28, remedy: "")
    guard old ?? [] != Array(text.utf8) else { return }
    // The records of a step have a folder of their own. Where it can't be made, the file can't either, which is told.
    let parent = URL(fileURLWithPath: keptPath).deletingLastPathComponent()
    try? FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
    try AtomicFile.write(text, to: keptPath)
  }

  /// JSON with what stands for ``places``, where a text, or a text in it, begins with one.
  private func named(_ json: String) -> String {
    // A folder in another one goes first.
    places.sorted { ($0.key.count, $0.key) > ($1.key.count, $1.key) }.reduce(json) { json, place in
      json.replacingOccurrences(
        of: "\"" + NSRegularExpression.escapedPattern(for: place.key) + #"(?=[/"\\])"#,
        with: NSRegularExpression.escapedTemplate(for: "\"" + place.value), options: .regularExpression)
    }
  }

  /// What `cell.json` says; `nil` when it is missing. Throws `badData` when it is damaged, and as ``InputFile`` does.
  public var record: SweepCellRecord? {
    get throws {
      guard InputFile.exists(statePath) else { return nil }
      let remedy = "delete the cell's folder to run it anew"
      let bytes = try InputFile.read(statePath, limit: 1 << 20, remedy: remedy)
      do { return try JSONDecoder().decode(SweepCellRecord.self, from: Data(bytes)) } catch {
        throw PBEError(.badData, "this says nothing about a cell", at: statePath, remedy: remedy)
      }
    }
  }

  /// Writes `cell.json`; `arguments` are the command's, with the variables' values. Throws as ``AtomicFile`` does.
  public func write(status: Int32?, error: String? = nil, arguments: [String]? = nil) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let record = SweepCellRecord(
      command: cell.command, options: cell.options, status: status, error: error, arguments: arguments)
    try AtomicFile.write(Array(try encoder.encode(record)) + [0x0a], to: statePath)
  }
}
