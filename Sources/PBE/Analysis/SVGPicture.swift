import Foundation

/// Plain, self-contained SVG pictures with a title and a description for those who can't see them.
enum SVGPicture {
  static func text(_ x: Double, _ y: Double, _ text: String, _ attributes: String = "") -> String {
    "<text x=\"\(number(x))\" y=\"\(number(y))\" \(attributes)>\(Markup.escaped(text))</text>\n"
  }

  static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  static func document(width: Double, height: Double, title: String, description: String, _ body: String)
    -> String
  {
    """
    <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" \
    viewBox="0 0 \(number(width)) \(number(height))" width="\(number(width))" height="\(number(height))" \
    font-family="sans-serif" font-size="12" fill="#222">
    <title id="title">\(Markup.escaped(title))</title>
    <desc id="desc">\(Markup.escaped(description))</desc>
    <rect width="100%" height="100%" fill="#fff"/>
    \(body)</svg>

    """
  }
}

/// Matrices of shares as coloured squares, side by side.
public struct MatrixPicture {
  /// One matrix and its name.
  public struct Panel {
    let name: String
    let shares: [[Double]]

    /// Creates a panel; shares are from 0 to 1.
    public init(_ name: String, _ shares: [[Double]]) {
      self.name = name
      self.shares = shares
    }
  }

  private let title: String, description: String, rows: String, columns: String
  private let panels: [Panel]

  /// Creates a picture; `rows` and `columns` name the axes.
  public init(title: String, description: String, rows: String, columns: String, panels: [Panel]) {
    self.title = title
    self.description = description
    self.rows = rows
    self.columns = columns
    self.panels = panels
  }

  /// The picture as SVG: dark for large shares, with per cents in it where there are few classes.
  public var svg: String {
    let classes = panels.map(\.shares.count).max() ?? 0
    let cell = max(8, min(32, 400 / Double(max(1, classes))))
    let side = cell * Double(classes)
    let (left, top) = (56.0, 56.0)
    var body = SVGPicture.text(left, 20, title, "font-size=\"14\" font-weight=\"bold\"")
    for (index, panel) in panels.enumerated() {
      let x0 = left + Double(index) * (side + left + 8)
      body += SVGPicture.text(x0, top - 18, panel.name)
      for (y, row) in panel.shares.enumerated() {
        let py = top + Double(y) * cell
        let middle = py + cell / 2 + 4
        if classes <= 20 { body += SVGPicture.text(x0 - 6, middle, "\(y)", "text-anchor=\"end\"") }
        for (x, share) in row.enumerated() {
          let px = x0 + Double(x) * cell
          let level = min(1, max(0, share))
          let (red, green, blue) = (255 - Int(215 * level), 255 - Int(180 * level), 255 - Int(120 * level))
          body +=
            "<rect x=\"\(SVGPicture.number(px))\" y=\"\(SVGPicture.number(py))\" width=\"\(SVGPicture.number(cell))\" "
            + "height=\"\(SVGPicture.number(cell))\" fill=\"rgb(\(red),\(green),\(blue))\" stroke=\"#ddd\"/>\n"
          if classes <= 12, share >= 0.005 {
            let colour = level > 0.5 ? "#fff" : "#222"
            body += SVGPicture.text(
              px + cell / 2, middle, "\(Int((100 * share).rounded()))",
              "text-anchor=\"middle\" font-size=\"11\" fill=\"\(colour)\"")
          }
          if y == 0, classes <= 20 {
            body += SVGPicture.text(px + cell / 2, top + side + 14, "\(x)", "text-anchor=\"middle\"")
          }
        }
      }
      body += SVGPicture.text(x0 + side / 2, top + side + 32, columns, "text-anchor=\"middle\"")
      let (mx, my) = (SVGPicture.number(x0 - 30), SVGPicture.number(top + side / 2))
      body +=
        "<text transform=\"translate(\(mx) \(my)) rotate(-90)\" text-anchor=\"middle\">"
        + "\(Markup.escaped(rows))</text>\n"
    }
    let count = Double(panels.count)
    return SVGPicture.document(
      width: left + count * side + (count - 1) * (left + 8) + 16, height: top + side + 44, title: title,
      description: description, body)
  }
}

/// Measurements over bounds: points above the line keep the bound.
public struct BoundPlot {
  private let series: [(name: String, checks: [BoundCheck])]
  private static let colours = ["#1b5e9e", "#b3541e", "#2e7d32", "#6a1b9a"]

  /// Creates a plot of named groups of measurements.
  public init(_ series: [(name: String, checks: [BoundCheck])]) { self.series = series }

  /// The picture as SVG. Each group has a shape of its own, besides its colour.
  public var svg: String {
    let (left, top, side) = (64.0, 48.0, 400.0)
    let all = series.flatMap(\.checks)
    let least = min(0, (all.map(\.cosine).min() ?? 0) * 1.05)
    let most = max(0.45, (all.map(\.cosine).max() ?? 0) * 1.05)
    let widest = 0.4
    func x(_ bound: Double) -> Double { left + side * bound / widest }
    func y(_ cosine: Double) -> Double { top + side * (most - cosine) / (most - least) }
    func line(_ a: (Double, Double), _ b: (Double, Double), _ style: String) -> String {
      "<line x1=\"\(SVGPicture.number(a.0))\" y1=\"\(SVGPicture.number(a.1))\" x2=\"\(SVGPicture.number(b.0))\" "
        + "y2=\"\(SVGPicture.number(b.1))\" \(style)/>\n"
    }
    let violated = all.count { $0.isViolated }
    var body = SVGPicture.text(
      left, 24, "Theorem 1: bound and measurement", "font-size=\"14\" font-weight=\"bold\"")
    body += line((left, y(0)), (left + side, y(0)), "stroke=\"#999\"")
    body += line((left, top), (left, top + side), "stroke=\"#999\"")
    body += line((x(0), y(0)), (x(widest), y(widest)), "stroke=\"#222\" stroke-dasharray=\"4 3\"")
    body += SVGPicture.text(x(0.2), y(0.2) - 6, "measurement = bound", "font-size=\"11\"")
    for tick in [0, 0.1, 0.2, 0.3, 0.4] {
      body += SVGPicture.text(
        x(tick), top + side + 18, String(format: "%.1f", tick), "text-anchor=\"middle\"")
    }
    for tick in [0, 0.2, 0.4, 0.6, 0.8, 1.0] where tick <= most {
      body += SVGPicture.text(left - 8, y(tick) + 4, String(format: "%.1f", tick), "text-anchor=\"end\"")
    }
    body += SVGPicture.text(left + side / 2, top + side + 38, "bound", "text-anchor=\"middle\"")
    body +=
      "<text transform=\"translate(18 \(SVGPicture.number(top + side / 2))) rotate(-90)\" text-anchor=\"middle\">"
      + "measured cosine</text>\n"
    for (index, group) in series.enumerated() {
      let colour = Self.colours[index % Self.colours.count]
      func mark(_ px: Double, _ py: Double) -> String {
        let (a, b) = (SVGPicture.number(px), SVGPicture.number(py))
        switch index % 3 {
        case 0: return "<circle cx=\"\(a)\" cy=\"\(b)\" r=\"4\" fill=\"\(colour)\">"
        case 1:
          return
            "<rect x=\"\(SVGPicture.number(px - 4))\" y=\"\(SVGPicture.number(py - 4))\" width=\"8\" height=\"8\" "
            + "fill=\"\(colour)\">"
        default:
          return "<path d=\"M\(a) \(SVGPicture.number(py - 5)) l5 9 h-10 z\" fill=\"\(colour)\">"
        }
      }
      let end = ["</circle>", "</rect>", "</path>"][index % 3]
      for check in group.checks {
        let numbers = String(format: "bound %.3f, measured %.3f", check.bound, check.cosine)
        let told = "\(group.name), \(check.name): \(numbers)"
        body +=
          mark(x(check.bound), y(check.cosine)) + "<title>\(Markup.escaped(told))</title>\(end)\n"
      }
      let row = top + 16 + 20 * Double(index)
      body += mark(left + side + 24, row - 4) + end + "\n"
      body += SVGPicture.text(left + side + 36, row, group.name)
    }
    return SVGPicture.document(
      width: left + side + 210, height: top + side + 52, title: "Theorem 1: bound and measurement",
      description:
        "The measured cosine between adversarial perturbation and trigger over the bound, \(all.count) "
        + "points of \(series.map(\.name).joined(separator: ", ")). \(violated) lie below the line where both are "
        + "equal: there the bound does not hold for the readings of its symbols that were taken.", body)
  }
}
