import Foundation

/// How numbers from 0 to 1 are distributed in a few groups of images, one strip for each, each to its own scale.
struct Histogram: Chart {
  /// A group of images.
  struct Group {
    var name: String
    /// The numbers of the images, those that are suggested to be poisoned apart.
    var plain: [Float], suggested: [Float]
    /// How many images.
    var count: Int { plain.count + suggested.count }
  }

  let title: String
  let groups: [Group]
  /// Above it images are suggested; drawn as a line.
  let threshold: Double?

  private static let bins = 40

  private static func counts(_ values: [Float]) -> [Int] {
    values.reduce(into: [Int](repeating: 0, count: bins)) { counts, value in
      counts[min(bins - 1, max(0, Int(Double(value) * Double(bins))))] += 1
    }
  }

  var description: String {
    let parts = groups.map { group in
      let all = group.plain + group.suggested
      guard !all.isEmpty else { return "\(group.name): none" }
      let median = String(format: "%.3f", all.median)
      return "\(group.name): \(all.count) images, median \(median), \(group.suggested.count) suggested"
    }
    return parts.joined(separator: "; ")
      + (threshold.map { "; the threshold is \(String(format: "%g", $0))" } ?? "") + "."
  }

  var drawing: SVG {
    let strip = 92.0
    let height = 24 + strip * Double(groups.count) + 26
    var drawing = SVG(width: 560, height: height)
    for (name, style, x) in [("suggested to be poisoned", "f0", 12.0), ("not suggested", "f1", 210.0)] {
      drawing.rectangle(x: x, y: 5, width: 10, height: 10, class: style)
      drawing.text(name, x: x + 16, y: 14)
    }
    for (index, group) in groups.enumerated() {
      let bottom = 18 + strip * Double(index + 1)
      let (plain, suggested) = (Self.counts(group.plain), Self.counts(group.suggested))
      let most = zip(plain, suggested).map { $0 + $1 }.max() ?? 0
      let frame = ChartFrame(
        left: 12, top: bottom - strip + 30, right: 548, bottom: bottom, x: 0...1,
        y: 0...Double(max(1, most)))
      drawing.text(
        "\(group.name): \(group.count), of which \(group.suggested.count) suggested", x: 12,
        y: bottom - strip + 22, class: "t strong")
      drawing.line(x1: 12, y1: bottom, x2: 548, y2: bottom, class: "axis")
      let width = (frame.right - frame.left) / Double(Self.bins)
      for bin in 0..<Self.bins where plain[bin] + suggested[bin] > 0 {
        let x = frame.left + width * Double(bin)
        let (middle, top) = (
          frame.place(y: Double(plain[bin])), frame.place(y: Double(plain[bin] + suggested[bin]))
        )
        drawing.rectangle(x: x + 0.5, y: middle, width: width - 1, height: bottom - middle, class: "f1")
        drawing.rectangle(x: x + 0.5, y: top, width: width - 1, height: middle - top, class: "f0")
        // A single image among thousands would be thinner than a hair.
        let shown = bottom - top
        if shown < 1.5 {
          drawing.rectangle(
            x: x + 0.5, y: bottom - 1.5, width: width - 1, height: 1.5,
            class: suggested[bin] > 0 ? "f0" : "f1")
        }
      }
      if let threshold {
        drawing.line(
          x1: frame.place(x: threshold), y1: frame.top, x2: frame.place(x: threshold), y2: bottom,
          class: "threshold")
      }
      if index == groups.count - 1 {
        frame.drawColumns([(0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1, "1")], in: &drawing)
      }
    }
    return drawing
  }
}
