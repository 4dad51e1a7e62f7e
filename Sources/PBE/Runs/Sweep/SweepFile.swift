import Foundation
import Kernels

/// A matrix of runs, as a YAML file describes it (docs/sweeps.md).
public struct SweepFile: Sendable {
  /// The file's name without its extension.
  public let name: String
  /// The command of every cell.
  public private(set) var command = "infect"
  /// The folder of the cells' folders.
  public private(set) var output: String
  /// Values of variables that nobody sets.
  public private(set) var variables: [String: String] = [:]
  /// The labels that make a cell another one's reference, by axis; empty for none.
  public private(set) var baseline: [String: String] = [:]
  /// The names of the axes, in order.
  public private(set) var axes: [String] = []
  /// The runs, in order.
  public private(set) var cells: [SweepCell] = []

  private static let cellLimit = 10_000

  /// Reads a file. Throws `missingInput` or `badData` with line and key.
  public static func load(_ path: String) throws -> SweepFile {
    try SweepFile(SweepYAML.load(path), path: path)
  }

  private init(_ yaml: SweepYAML, path: String) throws {
    name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    output = "runs/\(name)"
    var parts: [String: SweepYAML] = [:]
    for (key, value) in try yaml.members() {
      switch key {
      case "command": command = try value.text()
      case "output": output = try value.text()
      case "variables": variables = try Self.texts(value)
      case "defaults", "axes", "include", "exclude", "baseline": parts[key] = value
      default:
        throw value.failure(
          "is unknown; there are command, output, variables, defaults, axes, exclude, include, baseline")
      }
    }
    var matrix = SweepMatrix(defaults: try parts["defaults"].map(Self.options) ?? [:])
    guard let axes = parts["axes"] else { throw yaml.failure("has no axes") }
    for (axis, values) in try axes.members() { try matrix.addAxis(axis, values) }
    self.axes = matrix.axes.map(\.name)
    guard matrix.count <= Self.cellLimit else { throw axes.failure("make more than \(Self.cellLimit) cells") }
    var selected = matrix.all()
    if let exclude = parts["exclude"] {
      let rules = try exclude.elements.map { try matrix.selection($0, isWhole: false).choices }
      selected.removeAll { cell in
        rules.contains { $0.allSatisfy { axis, labels in labels.contains(cell[axis] ?? "") } }
      }
    }
    cells = selected.map { matrix.cell($0) }
    for entry in parts["include"]?.elements ?? [] { try include(entry, &matrix) }
    if let rule = parts["baseline"] {
      baseline = try matrix.selection(rule, isWhole: false).choices.mapValues { labels in
        guard labels.count == 1 else { throw rule.failure("takes one label per axis") }
        return labels[0]
      }
    }
    guard !cells.isEmpty else { throw yaml.failure("has no cells left") }
  }

  /// Adds the cells that an entry names, or its options to those that are there.
  private mutating func include(_ entry: SweepYAML, _ matrix: inout SweepMatrix) throws {
    let selection = try matrix.selection(entry, isWhole: true)
    for labels in SweepMatrix.product(matrix.axes.map { ($0.name, selection.choices[$0.name] ?? []) }) {
      guard cells.count < Self.cellLimit else { throw entry.failure("makes too many cells") }
      var cell = matrix.cell(labels)
      if let at = cells.firstIndex(where: { $0.name == cell.name }) {
        cell = cells[at]
        cell.set(selection.options)
        cells[at] = cell
      } else {
        cell.set(selection.options)
        cells.append(cell)
      }
    }
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
        return (key, try value.option())
      }
    ) { $1 }
  }
}
