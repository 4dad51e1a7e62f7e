import Foundation
import FoundationXML
import Testing

@testable import PBE

@Suite struct ChartTests {
  private func count(_ element: String, in drawing: SVG) -> Int {
    drawing.element(id: "c", title: "", description: "").components(separatedBy: "<\(element) ").count - 1
  }

  @Test func curveOfAKnownScore() throws {
    // Two of three positives above all negatives, one below one of two.
    let scores: [Float] = [0.9, 0.8, 0.4, 0.5, 0.1]
    let truth = [true, true, true, false, false]
    let curve = try #require(ROCChart.Curve(name: "s", scores: scores, isPoisoned: truth))
    #expect(abs(curve.area - 5.0 / 6) < 1e-12)
    #expect(curve.points.map(\.x) == [0, 0, 0, 0.5, 0.5, 1])
    #expect(curve.points.map { ($0.y * 3).rounded() } == [0, 1, 2, 2, 3, 3])
    // The points enclose the area that was computed by ranks.
    let area = zip(curve.points, curve.points.dropFirst()).reduce(0) {
      $0 + ($1.1.x - $1.0.x) * ($1.1.y + $1.0.y) / 2
    }
    #expect(abs(area - curve.area) < 1e-12)
    #expect(ROCChart.Curve(name: "s", scores: scores, isPoisoned: truth.map { _ in true }) == nil)
  }

  @Test func tiesAreOneStep() throws {
    let curve = try #require(
      ROCChart.Curve(name: "s", scores: [1, 1, 1, 1], isPoisoned: [true, false, true, false]))
    #expect(curve.points.map(\.x) == [0, 1] && curve.points.map(\.y) == [0, 1] && curve.area == 0.5)
  }

  @Test func manyImagesMakeAShortCurve() throws {
    let scores = (0..<50_000).map { Float($0 % 977) }
    let curve = try #require(ROCChart.Curve(name: "s", scores: scores, isPoisoned: scores.map { $0 > 400 }))
    #expect(curve.points.count < 1000 && curve.points.last?.x == 1 && curve.points.last?.y == 1)
  }

  @Test func histogramCountsEveryImage() {
    let chart = Histogram(
      title: "h",
      groups: [
        .init(name: "poisoned", plain: [0.99, 1.0], suggested: [0, -0.001, 0.01]),
        .init(name: "others", plain: [], suggested: []),
      ], threshold: 0.1)
    #expect(chart.description.contains("poisoned: 5 images") && chart.description.contains("others: none"))
    #expect(chart.description.contains("3 suggested") && chart.description.contains("threshold is 0.1"))
    // Two bins, each a bar of one kind and one of no height.
    #expect(count("rect", in: chart.drawing) == 4)
  }

  @Test func linesHaveGapsWhereNothingWasMeasured() {
    let chart = LineChart(
      title: "l", stages: ["before", "step 1", "after"],
      series: [.init(name: "ASR", values: [1, nil, 0.03]), .init(name: "RA", values: [nil, nil, nil])],
      isRate: true)
    #expect(chart.description == "ASR: from 100.0% (before) to 3.0% (after); RA: not measured.")
    // Two marks of the first line, two of the legend, and the first line; five grid lines.
    #expect(count("path", in: chart.drawing) == 2 + 2 + 1 + 5)
  }

  @Test func heatMapNamesItsLargestColumn() {
    let map = HeatMap(
      title: "m", rowName: "true label", columnName: "answer", rows: ["0", "1"], columns: ["0", "1"],
      values: [[0.25, 0.75], [0.004, 0.996]])
    #expect(map.description.contains("99.6% at 1, 1") && map.description.contains("column 1 has most, 87.3%"))
    let text = map.drawing.element(id: "m", title: "", description: "")
    for number in ["25", "75", "100"] { #expect(text.contains(">\(number)</text>")) }
    #expect(!text.contains(">0</text></svg>"))
  }

  @Test func durations() {
    #expect([0.44, 12.4, 200, 3900].map(\.asDuration) == ["0.4s", "12s", "3m20s", "1h05m"])
    #expect([Double.nan, .infinity, -1, 1e300].map(\.asDuration) == Array(repeating: "unknown", count: 4))
  }
}
