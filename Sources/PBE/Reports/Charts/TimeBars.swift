import Foundation

/// Where a run's time went.
struct TimeBars: Chart {
  let title = "Time per phase"
  /// The phases with their seconds, in their order.
  let phases: [(name: String, seconds: Double)]

  var description: String {
    phases.map { "\($0.name): \($0.seconds.asDuration)" }.joined(separator: "; ") + "."
  }

  var drawing: SVG {
    let row = 30.0
    var drawing = SVG(width: 560, height: row * Double(phases.count) + 8)
    let longest = max(1e-9, phases.map(\.seconds).max() ?? 0)
    for (index, phase) in phases.enumerated() {
      let y = row * Double(index) + 4
      drawing.text(phase.name, x: 176, y: y + 18, anchor: .end)
      let width = 290 * phase.seconds / longest
      drawing.rectangle(x: 188, y: y + 4, width: max(1, width), height: row - 10, class: "f1")
      drawing.text(phase.seconds.asDuration, x: 196 + width, y: y + 18, class: "t strong")
    }
    return drawing
  }
}
