import Foundation
import Kernels

/// A matrix of runs, as a YAML file describes it (docs/sweeps.md).
public struct SweepFile: Sendable {
  /// The file's name without its extension.
  public let name: String
  /// The folder of the cells' folders.
  public private(set) var output: String
  /// Values of variables that nobody sets.
  public private(set) var variables: [String: String] = [:]
  /// The labels that make a cell another one's reference, by axis; empty for none.
  public private(set) var baseline: [String: String] = [:]
  /// The names of the axes, in order.
  public private(set) var axes: [String] = []
  /// The names of the steps, in order; empty in a file without steps.
  public private(set) var steps: [String] = []
  /// The commands to run, in order: each comes after those that it needs.
  public private(set) var cells: [SweepCell] = []
  /// The numbered runs: each is a cell or, where there are steps, a chain of them, which it may share with other runs.
  public private(set) var runs: [Run] = []

  /// One combination of labels.
  public struct Run: Sendable {
    /// Its labels with dashes between them.
    public let name: String
    /// The places of its cells in ``SweepFile/cells``, in order.
    public let cells: [Int]
  }

  private var places: [String: Int] = [:]
  private var runLabels: [String: [String: String]] = [:]

  private static let cellLimit = 10_000

  /// Reads a file. Throws `missingInput` or `badData` with line and key.
  public static func load(_ path: String) throws -> SweepFile {
    let file = URL(fileURLWithPath: path)
    return try SweepFile(SweepYAML.load(path), name: file.deletingPathExtension().lastPathComponent)
  }

  /// The name of the copy of its file that a sweep keeps in its folder.
  public static let copyName = "sweep.yaml"

  /// The file that the sweep with this folder was made from. Throws as ``load(_:)`` does.
  public static func ofFolder(_ folder: String) throws -> SweepFile {
    let copy = "\(folder)/\(copyName)"
    guard InputFile.exists(copy) else {
      throw PBEError(
        .missingInput, "there is no sweep in this folder (no \(copyName))", at: folder,
        remedy: "name the folder that `sweep` wrote to")
    }
    let name = URL(fileURLWithPath: folder).standardizedFileURL.lastPathComponent
    return try SweepFile(SweepYAML.load(copy), name: name)
  }

  /// Keeps a copy of the file at `path` in the sweep's folder, unless it is there. Throws as ``AtomicFile`` does.
  public static func keepCopy(of path: String, in folder: String) throws {
    let text = try InputFile.read(path, limit: 1 << 20, remedy: "")
    let copy = "\(folder)/\(copyName)"
    if (try? InputFile.read(copy, limit: 1 << 20, remedy: "")) != text {
      try AtomicFile.write(text, to: copy)
    }
  }

  private init(_ yaml: SweepYAML, name: String) throws {
    self.name = name
    output = "runs/\(name)"
    var command: String?
    var parts: [String: SweepYAML] = [:]
    for (key, value) in try yaml.members() {
      switch key {
      case "command": command = try value.text()
      case "output":
        output = try value.text()
        guard !output.isEmpty else { throw value.failure("should name a folder") }
      case "variables": variables = try Self.texts(value)
      case "defaults", "axes", "steps", "include", "exclude", "baseline": parts[key] = value
      default:
        throw value.failure(
          "is unknown; there are command, output, variables, defaults, axes, steps, exclude, include, baseline"
        )
      }
    }
    var matrix = SweepMatrix(defaults: try parts["defaults"].map(Self.options) ?? [:])
    guard let axes = parts["axes"] else { throw yaml.failure("has no axes") }
    for (axis, values) in try axes.members() { try matrix.addAxis(axis, values) }
    self.axes = matrix.axes.map(\.name)
    guard !self.axes.isEmpty else { throw axes.failure("needs at least one axis") }
    guard matrix.count <= Self.cellLimit else { throw axes.failure("make more than \(Self.cellLimit) cells") }
    var selected = matrix.all()
    if let exclude = parts["exclude"] {
      let rules = try exclude.elements.map { try matrix.selection($0, isWhole: false).choices }
      selected.removeAll { cell in
        rules.contains { $0.allSatisfy { axis, labels in labels.contains(cell[axis] ?? "") } }
      }
    }
    if let entry = parts["steps"] {
      guard command == nil else { throw entry.failure("have commands of their own: leave `command` away") }
      let steps = try SweepStep.list(entry, matrix)
      self.steps = steps.map(\.name)
      for entry in parts["include"]?.elements ?? [] { selected += try Self.runs(entry, &matrix) }
      try selected.forEach { try addChain(of: $0, steps, matrix, entry) }
    } else {
      let step = SweepStep(command: command ?? "infect", axes: self.axes)
      try selected.forEach { try addChain(of: $0, [step], matrix, axes) }
      for entry in parts["include"]?.elements ?? [] { try include(entry, step, &matrix) }
    }
    if let rule = parts["baseline"] {
      baseline = try matrix.selection(rule, isWhole: false).choices.mapValues { labels in
        guard labels.count == 1 else { throw rule.failure("takes one label per axis") }
        return labels[0]
      }
    }
    guard !cells.isEmpty else { throw yaml.failure("has no cells left") }
  }

  /// Adds the cells that an entry names, or its options to those that are there.
  private mutating func include(
    _ entry: SweepYAML, _ step: SweepStep, _ matrix: inout SweepMatrix
  ) throws {
    let selection = try matrix.selection(entry, isWhole: true)
    for labels in try Self.combinations(selection.choices, matrix, entry) {
      try addChain(of: labels, [step], matrix, entry)
      if let at = places[matrix.name(labels)] { cells[at].set(selection.options) }
    }
  }

  /// Every combination of labels that an entry of include names.
  private static func combinations(
    _ choices: [String: [String]], _ matrix: SweepMatrix, _ entry: SweepYAML
  ) throws -> [[String: String]] {
    let axes = matrix.axes.map { (name: $0.name, labels: choices[$0.name] ?? []) }
    guard SweepMatrix.count(axes.map(\.labels.count)) <= cellLimit else {
      throw entry.failure("makes too many cells")
    }
    return SweepMatrix.product(axes)
  }

  /// Throws `badData` when other labels than `known` have made the same name: labels may have dashes in them.
  private static func check(
    _ name: String, _ known: [String: String], _ labels: [String: String], _ yaml: SweepYAML
  ) throws {
    guard known != labels else { return }
    func words(_ labels: [String: String]) -> String {
      labels.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    }
    throw yaml.failure("give two cells the name \(name): {\(words(known))} and {\(words(labels))}")
  }

  /// The runs that an entry adds to a matrix of chains.
  private static func runs(_ entry: SweepYAML, _ matrix: inout SweepMatrix) throws -> [[String: String]] {
    let selection = try matrix.selection(entry, isWhole: true)
    guard selection.options.isEmpty else {
      throw entry.failure("can't set options: say in `steps` what they belong to")
    }
    return try combinations(selection.choices, matrix, entry)
  }

  /// Adds the run with these labels, and the cells that no earlier run has.
  private mutating func addChain(
    of labels: [String: String], _ steps: [SweepStep], _ matrix: SweepMatrix, _ yaml: SweepYAML
  ) throws {
    var made: [String: Int] = [:]
    for step in steps {
      let needs = Dictionary(
        uniqueKeysWithValues: step.needs.compactMap { name in
          made[name].map { (name, cells[$0].name) }
        })
      let cell = matrix.cell(step, labels, needs: needs)
      if let at = places[cell.name] {
        try Self.check(cell.name, cells[at].labels, cell.labels, yaml)
        made[step.name] = at
      } else {
        guard cells.count < Self.cellLimit else { throw yaml.failure("make too many cells") }
        places[cell.name] = cells.count
        made[step.name] = cells.count
        cells.append(cell)
      }
    }
    let name = matrix.name(labels)
    // An entry of include may name a run that is there.
    if let known = runLabels.updateValue(labels, forKey: name) {
      return try Self.check(name, known, labels, yaml)
    }
    runs.append(Run(name: name, cells: made.values.sorted()))
  }

  /// The names of all variables: those of the cells' options, and those that `variables` sets.
  public var variableNames: Set<String> {
    var names = Set(variables.keys)
    for cell in cells {
      _ = try? cell.arguments { name in
        if cell.needs[name] == nil { names.insert(name) }
        return ""
      }
    }
    return names
  }

  static func texts(_ yaml: SweepYAML) throws -> [String: String] {
    Dictionary(try yaml.members().map { ($0.key, try $0.value.text()) }) { $1 }
  }

  static func options(_ yaml: SweepYAML) throws -> [String: SweepOption?] {
    try Dictionary(
      yaml.members().map { key, value in
        guard !["output", "resume", "json", "quiet", "help", "version"].contains(key) else {
          throw value.failure("is for the sweep to set")
        }
        guard !key.isEmpty, !key.hasPrefix("-"),
          key.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
        else { throw value.failure("is no option: write it without dashes in front") }
        // Commands take lists with commas, but for these; a single parameter stays the text that kept records have.
        if key == "arguments" || key == "parameter" && value.isList {
          return (key, .list(try value.elements.map { try $0.text() }))
        }
        return (key, try value.option())
      }
    ) { $1 }
  }
}
