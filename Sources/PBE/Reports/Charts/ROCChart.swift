import Foundation

/// How many poisoned images a score finds at each price in false alarms.
struct ROCChart: Chart {
  /// One score's curve.
  struct Curve {
    var name: String
    /// The area below it.
    var area: Double
    /// False alarms and hits, as shares of the clean and of the poisoned images; from (0, 0) to (1, 1).
    var points: [(x: Double, y: Double)]

    /// The curve of a score that is high for poisoned images; `nil` where all are or none is.
    init?(name: String, scores: [Float], isPoisoned: [Bool]) {
      guard let area = areaUnderROC(scores: scores, isPositive: isPoisoned) else { return nil }
      self.name = name
      self.area = area
      let positives = Double(isPoisoned.count { $0 })
      let negatives = Double(isPoisoned.count) - positives
      var (hits, alarms) = (0.0, 0.0)
      points = [(0, 0)]
      let order = scores.indices.sorted { scores[$0] > scores[$1] }
      for (position, image) in order.enumerated() {
        if isPoisoned[image] { hits += 1 } else { alarms += 1 }
        // Images of one score come all or none.
        if position + 1 < order.count, scores[order[position + 1]] == scores[image] { continue }
        let point = (x: alarms / negatives, y: hits / positives)
        // Closer points than a pixel change nothing but the size of the page.
        if let last = points.last, position + 1 < order.count,
          abs(last.x - point.x) + abs(last.y - point.y) < 0.004
        {
          continue
        }
        points.append(point)
      }
    }
  }

  let title = "ROC of the identification"
  let curves: [Curve]
  /// False alarms and hits of the images that are suggested.
  let suggested: (x: Double, y: Double)?

  var description: String {
    let areas = curves.map { "\($0.name): area \(String(format: "%.4f", $0.area))" }
    let point = suggested.map {
      "what is suggested finds \(String(format: "%.1f", 100 * $0.y))% of the poisoned images at "
        + "\(String(format: "%.2f", 100 * $0.x))% false alarms"
    }
    return (areas + (point.map { [$0] } ?? [])).joined(separator: "; ") + "."
  }

  var drawing: SVG {
    var drawing = SVG(width: 560, height: 330)
    let frame = ChartFrame(left: 48, top: 32, right: 308, bottom: 276, x: 0...1, y: 0...1)
    frame.drawRows((0...4).map { (Double($0) / 4, "\(25 * $0)") }, in: &drawing)
    frame.drawColumns((0...4).map { (Double($0) / 4, "\(25 * $0)") }, in: &drawing)
    drawing.line(x1: frame.left, y1: frame.bottom, x2: frame.right, y2: frame.top, class: "axis dashed")
    drawing.text("clean images suspected, %", x: 178, y: 312, anchor: .middle)
    drawing.text("poisoned images found, %", x: 12, y: 14)
    for (index, curve) in curves.enumerated() {
      drawing.path(
        curve.points.map { (frame.place(x: $0.x), frame.place(y: $0.y)) }, class: "line l\(index % 3)")
      let y = 62 + 44 * Double(index)
      drawing.line(x1: 326, y1: y - 4, x2: 350, y2: y - 4, class: "line l\(index % 3)")
      drawing.text(curve.name, x: 358, y: y, class: "t strong")
      drawing.text("area \(String(format: "%.4f", curve.area))", x: 358, y: y + 18)
    }
    if let suggested {
      let y = 62 + 44 * Double(curves.count)
      drawing.mark(1, x: frame.place(x: suggested.x), y: frame.place(y: suggested.y), class: "mark f0")
      drawing.mark(1, x: 338, y: y - 4, class: "mark f0")
      drawing.text("what is suggested", x: 358, y: y, class: "t strong")
    }
    return drawing
  }
}
