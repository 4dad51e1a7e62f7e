import Foundation

/// A matrix of shares: the darker, the more; with the numbers, in per cent.
struct HeatMap: Chart {
  let title: String
  /// What rows and columns are.
  let rowName: String, columnName: String
  let rows: [String], columns: [String]
  /// Shares from 0 to 1, row by row.
  let values: [[Double]]

  var description: String {
    let cells = values.enumerated().flatMap { row, line in
      line.enumerated().map { (row, $0.offset, $0.element) }
    }
    guard let largest = cells.max(by: { $0.2 < $1.2 }) else { return "An empty matrix." }
    let sums = columns.indices.map { column in
      values.reduce(0) { $0 + $1[column] } / Double(max(1, rows.count))
    }
    let common = sums.indices.max { sums[$0] < sums[$1] } ?? 0
    return "\(rows.count) rows (\(rowName)), \(columns.count) columns (\(columnName)). The largest share is "
      + "\(percent(largest.2))% at \(rows[largest.0]), \(columns[largest.1]); the column \(columns[common]) has most, "
      + "\(percent(sums[common]))% on average."
  }

  private func percent(_ value: Double) -> String { String(format: "%.1f", 100 * value) }

  var drawing: SVG {
    let cell = max(columns.count, rows.count) <= 15 ? 40.0 : 22.0
    let (left, top) = (44.0, 44.0)
    var drawing = SVG(
      width: left + cell * Double(columns.count) + 8, height: top + cell * Double(rows.count) + 8)
    drawing.text("\(columnName), across; \(rowName), down; %", x: left, y: 14)
    for (column, name) in columns.enumerated() {
      drawing.text(name, x: left + cell * (Double(column) + 0.5), y: top - 8, anchor: .middle)
    }
    let small = cell < 40 ? " small" : ""
    for (row, line) in values.enumerated() {
      let y = top + cell * Double(row)
      drawing.text(rows[row], x: left - 8, y: y + cell / 2 + 4, anchor: .end)
      for (column, value) in line.enumerated() {
        let x = left + cell * Double(column)
        let share = min(1, max(0, value))
        drawing.rectangle(x: x, y: y, width: cell, height: cell, class: "empty")
        drawing.rectangle(x: x, y: y, width: cell, height: cell, class: "heat", opacity: share)
        guard value >= 0.005 else { continue }
        drawing.text(
          String(format: "%.0f", 100 * value), x: x + cell / 2, y: y + cell / 2 + 4, anchor: .middle,
          class: "t number\(small)\(share > 0.7 ? " inverse" : "")")
      }
    }
    return drawing
  }
}
