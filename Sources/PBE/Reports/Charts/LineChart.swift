import Foundation

/// Numbers over stages: rates in per cent, or losses.
struct LineChart: Chart {
  /// One line.
  struct Series {
    var name: String
    /// One per stage; `nil` where nothing was measured.
    var values: [Double?]
  }

  let title: String
  /// The names of the stages.
  let stages: [String]
  let series: [Series]
  /// Rates are fractions, shown in per cent from 0 to 100.
  let isRate: Bool

  private func words(_ value: Double) -> String {
    isRate ? String(format: "%.1f%%", 100 * value) : String(format: "%.3g", value)
  }

  var description: String {
    series.map { line in
      let known = zip(stages, line.values).compactMap { stage, value in value.map { (stage, $0) } }
      guard let first = known.first, let last = known.last else { return "\(line.name): not measured" }
      return known.count == 1
        ? "\(line.name): \(words(first.1)), \(first.0)"
        : "\(line.name): from \(words(first.1)) (\(first.0)) to \(words(last.1)) (\(last.0))"
    }.joined(separator: "; ") + "."
  }

  var drawing: SVG {
    var drawing = SVG(width: 560, height: 260)
    let largest = series.flatMap(\.values).compactMap { $0 }.max() ?? 1
    let top = isRate ? 1 : max(largest, 1e-9)
    let frame = ChartFrame(
      left: 48, top: 36, right: 540, bottom: 224, x: -0.5...max(0.5, Double(stages.count) - 0.5), y: 0...top)
    frame.drawRows((0...4).map { (top * Double($0) / 4, axis(top * Double($0) / 4)) }, in: &drawing)
    let stride = max(1, (stages.count + 7) / 8)
    frame.drawColumns(
      stages.enumerated().filter { $0.offset % stride == 0 }.map { (Double($0.offset), $0.element) },
      in: &drawing)
    var x = 48.0
    for (index, line) in series.enumerated() {
      let points = line.values.enumerated().compactMap { stage, value in
        value.map { (x: frame.place(x: Double(stage)), y: frame.place(y: min(top, max(0, $0)))) }
      }
      drawing.path(points, class: "line l\(index % 3)")
      if points.count <= 40 {
        for point in points { drawing.mark(index, x: point.x, y: point.y, class: "mark f\(index % 3)") }
      }
      drawing.mark(index, x: x + 5, y: 14, class: "mark f\(index % 3)")
      drawing.text(line.name, x: x + 16, y: 18, class: "t strong")
      x += 40 + 8 * Double(line.name.count)
    }
    return drawing
  }

  private func axis(_ value: Double) -> String {
    isRate ? String(format: "%.0f", 100 * value) : String(format: "%.2g", value)
  }
}
