import Foundation
import Kernels

/// One step of the chain that each run of a sweep is. Runs that agree on all axes that a step varies with share it.
struct SweepStep: Sendable {
  /// The name, also of the folder of its cells' folders; empty for the only step of a file without steps.
  let name: String
  let command: String
  /// The axes whose labels' options it takes.
  let axes: [String]
  /// These, and the axes that the steps vary with which it refers to.
  let varies: Set<String>
  /// The steps that it refers to.
  let needs: [String]
  /// Options that go before those of defaults and axes.
  let options: [String: SweepOption?]

  /// The only step of a file without steps.
  init(command: String, axes: [String]) {
    name = ""
    self.command = command
    self.axes = axes
    varies = Set(axes)
    needs = []
    options = [:]
  }

  /// The steps that a file describes. Throws `badData` with line and key.
  static func list(_ yaml: SweepYAML, _ matrix: SweepMatrix) throws -> [SweepStep] {
    let members = try yaml.members()
    guard !members.isEmpty, Set(members.map(\.key)).count == members.count else {
      throw yaml.failure("needs steps, each of them once")
    }
    var steps: [SweepStep] = []
    for (name, value) in members {
      steps.append(try SweepStep(name, value, matrix, earlier: steps, all: Set(members.map(\.key))))
    }
    return steps
  }

  private init(
    _ name: String, _ yaml: SweepYAML, _ matrix: SweepMatrix, earlier: [SweepStep], all: Set<String>
  ) throws {
    try SweepMatrix.check(name, yaml)
    let known = matrix.axes.map(\.name)
    guard !known.contains(name) else { throw yaml.failure("has the name of an axis") }
    var (command, axes, options) = (name, [String](), [String: SweepOption?]())
    for (key, value) in try yaml.members() {
      switch key {
      case "command": command = try value.text()
      case "axes":
        axes = try value.elements.map { element in
          let axis = try element.text()
          guard known.contains(axis) else {
            throw element.failure("is no axis; there are \(known.joined(separator: ", "))")
          }
          return axis
        }
      case "options": options = try SweepFile.options(value)
      default: throw value.failure("is unknown; there are command, axes, options")
      }
    }
    self.name = name
    self.command = command
    self.axes = axes
    self.options = options
    let labels = matrix.axes.filter { axes.contains($0.name) }.flatMap { $0.labels.map(\.options) }
    // What the step's own options replace or take away refers to nothing.
    let others = ([matrix.defaults] + labels).map { $0.filter { options[$0.key] == nil } }
    let named = Set(([options] + others).flatMap { $0.values.flatMap(Self.references) })
    needs = all.intersection(named).sorted()
    var varies = Set(axes)
    for need in needs {
      guard let step = earlier.first(where: { $0.name == need }) else {
        throw yaml.failure("refers to the step \(need), which does not come before it")
      }
      varies.formUnion(step.varies)
    }
    self.varies = varies
  }

  /// The names in an option's `${NAME}`s.
  private static func references(_ option: SweepOption?) -> [String] {
    let texts: [String] =
      switch option {
      case .text(let text): [text]
      case .list(let texts): texts
      case .flag, nil: []
      }
    return texts.flatMap { text in
      text.components(separatedBy: "${").dropFirst().compactMap { part in
        part.firstIndex(of: "}").map { String(part[..<$0]) }
      }
    }
  }
}
