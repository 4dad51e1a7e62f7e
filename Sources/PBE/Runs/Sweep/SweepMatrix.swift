import Kernels

/// The axes of a sweep and how labels on them become cells.
struct SweepMatrix {
  struct Axis {
    var name: String
    /// What each label sets, in order; a label that stands in a list sets the option of the axis's name.
    var labels: [(label: String, options: [String: SweepOption?])]
    /// Whether labels may be added: the axis is a list, so that a label is its own value.
    var isList: Bool
  }

  let defaults: [String: SweepOption?]
  private(set) var axes: [Axis] = []

  init(defaults: [String: SweepOption?]) { self.defaults = defaults }

  /// How many cells the whole matrix has; a large number when it overflows.
  var count: Int { Self.count(axes.map(\.labels.count)) }

  /// How many combinations there are of so many labels on each axis; a large number when it overflows.
  static func count(_ labels: [Int]) -> Int {
    labels.reduce(1) { count, labels in
      let (product, overflow) = count.multipliedReportingOverflow(by: labels)
      return overflow ? .max : product
    }
  }

  mutating func addAxis(_ name: String, _ values: SweepYAML) throws {
    try Self.check(name, values)
    var axis = Axis(name: name, labels: [], isList: !values.isMapping)
    if axis.isList {
      for value in values.elements { axis.labels.append(try Self.listed(name, value)) }
    } else {
      for (label, options) in try values.members() {
        try Self.check(label, options)
        axis.labels.append((label, try SweepFile.options(options)))
      }
    }
    guard Set(axis.labels.map(\.label)).count == axis.labels.count, !axis.labels.isEmpty else {
      throw values.failure("needs labels, each of them once")
    }
    axes.append(axis)
  }

  /// A label that is the value of the option of the axis's name.
  private static func listed(
    _ axis: String, _ value: SweepYAML
  ) throws -> (label: String, options: [String: SweepOption?]) {
    let label = try value.text()
    try check(label, value)
    return (label, [axis: .text(label)])
  }

  /// Labels become names of folders.
  static func check(_ label: String, _ value: SweepYAML) throws {
    let isName = label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    guard (1...64).contains(label.count), isName, !label.hasPrefix(".") else {
      throw value.failure(
        "\"\(label.printable())\" is no name for a cell; use letters, digits, - _ and ., and for other values LABEL: {OPTION: VALUE}"
      )
    }
  }

  /// Labels by axis, and options, that an entry of include, exclude or baseline gives. With `isWhole`, axes that it leaves
  /// out must have one label, and new ones may be added to lists.
  mutating func selection(
    _ entry: SweepYAML, isWhole: Bool
  ) throws -> (choices: [String: [String]], options: [String: SweepOption?]) {
    var choices: [String: [String]] = [:]
    var options: [String: SweepOption?] = [:]
    for (key, value) in try entry.members() {
      if key == "options", isWhole {
        options = try SweepFile.options(value)
        continue
      }
      guard let at = axes.firstIndex(where: { $0.name == key }) else {
        throw value.failure("is no axis; there are \(axes.map(\.name).joined(separator: ", "))")
      }
      choices[key] = try value.elements.map { element in
        let label = try element.text()
        if axes[at].labels.contains(where: { $0.label == label }) { return label }
        guard isWhole, axes[at].isList else {
          throw element.failure("\"\(label.printable())\" is no label of the axis \(key)")
        }
        axes[at].labels.append(try Self.listed(key, element))
        return label
      }
    }
    if isWhole {
      for axis in axes where choices[axis.name] == nil {
        guard axis.labels.count == 1 else { throw entry.failure("must say which \(axis.name)") }
        choices[axis.name] = axis.labels.map(\.label)
      }
    } else if choices.isEmpty {
      throw entry.failure("names no axis")
    }
    return (choices, options)
  }

  /// Every combination of labels, the last axis changing fastest.
  func all() -> [[String: String]] { Self.product(axes.map { ($0.name, $0.labels.map(\.label)) }) }

  static func product(_ axes: [(name: String, labels: [String])]) -> [[String: String]] {
    axes.reduce([[:]]) { rows, axis in
      rows.flatMap { row in axis.labels.map { label in row.merging([axis.name: label]) { $1 } } }
    }
  }

  /// Labels with dashes between them, in the order of the axes.
  func name(_ labels: [String: String]) -> String {
    axes.compactMap { axis in
      // A number says nothing without the axis's name.
      labels[axis.name].map { Double($0) == nil ? $0 : axis.name + $0 }
    }.joined(separator: "-")
  }

  /// The cell of a step of the run at labels of every axis; `needs` are the names of the cells of earlier steps.
  func cell(_ step: SweepStep, _ labels: [String: String], needs: [String: String] = [:]) -> SweepCell {
    let labels = labels.filter { step.varies.contains($0.key) }
    let name = [step.name, name(labels)].filter { !$0.isEmpty }.joined(separator: "/")
    var cell = SweepCell(name: name, command: step.command, step: step.name, labels: labels, needs: needs)
    cell.set(defaults)
    for axis in axes where step.axes.contains(axis.name) {
      if let options = axis.labels.first(where: { $0.label == labels[axis.name] })?.options {
        cell.set(options)
      }
    }
    cell.set(step.options)
    return cell
  }
}
