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
    // Two bins, each a bar of one kind and one of no height; the legend has two.
    #expect(count("rect", in: chart.drawing) == 4 + 2)
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

@Suite struct ReportStyleTests {
  /// Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`.
  private func luminance(_ colour: Substring) throws -> Double {
    var digits = colour.dropFirst().map { String($0) }
    if digits.count == 3 { digits = digits.flatMap { [$0, $0] } }
    let parts = try stride(from: 0, to: 6, by: 2).map { at in
      let value = Double(try #require(Int(digits[at] + digits[at + 1], radix: 16))) / 255
      return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
    }
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
  }

  /// The colours of light, of dark and of paper.
  private func palettes() throws -> [[Substring: Double]] {
    let blocks = ReportStyle.sheet.components(separatedBy: ":root{").dropFirst()
    return try blocks.map { block in
      var palette: [Substring: Double] = [:]
      for match in block.prefix(while: { $0 != "}" }).matches(of: #/--([a-z0-9]+):(#[0-9a-f]{3,6})/#) {
        palette[match.1] = try luminance(match.2)
      }
      return palette
    }
  }

  @Test func coloursContrast() throws {
    let palettes = try palettes()
    #expect(palettes.count == 3)
    for palette in palettes {
      func contrast(_ one: Substring, _ two: Substring) throws -> Double {
        let (a, b) = (
          try #require(palette[one] ?? palettes[0][one]), try #require(palette[two] ?? palettes[0][two])
        )
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)
      }
      // Text; 3 would do for drawings.
      for ink in ["ink", "soft", "s0", "s1", "s2"] as [Substring] {
        for ground in ["paper", "panel"] as [Substring] {
          #expect(try contrast(ink, ground) >= 4.5, "\(ink) on \(ground)")
        }
      }
      #expect(try contrast("noteink", "note") >= 4.5)
    }
  }
}
