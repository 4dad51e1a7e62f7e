import Foundation

/// A drawing that stands in an HTML page: elements with classes, whose colours the page's style sheet sets for light,
/// dark and paper.
struct SVG {
  /// The size of the drawing's coordinates.
  let width: Double, height: Double
  private var body = ""

  /// Where a text lies.
  enum Anchor: String { case start, middle, end }

  /// An empty drawing.
  init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  /// A coordinate; what is not a number is drawn at 0.
  private static func text(_ value: Double) -> String {
    value.isFinite && abs(value) < 1e6 ? String(format: "%.1f", value) : "0"
  }

  mutating func rectangle(
    x: Double, y: Double, width: Double, height: Double, class name: String, opacity: Double? = nil
  ) {
    let values = [("x", x), ("y", y), ("width", max(0, width)), ("height", max(0, height))]
    let attributes = values.map { "\($0.0)=\"\(Self.text($0.1))\"" }.joined(separator: " ")
    let faint = opacity.map { " fill-opacity=\"\(String(format: "%.3f", min(1, max(0, $0))))\"" } ?? ""
    body += "<rect class=\"\(name)\" \(attributes)\(faint)/>"
  }

  mutating func line(x1: Double, y1: Double, x2: Double, y2: Double, class name: String) {
    path([(x1, y1), (x2, y2)], class: name)
  }

  mutating func path(_ points: [(x: Double, y: Double)], class name: String, isClosed: Bool = false) {
    guard !points.isEmpty else { return }
    let steps = points.map { "\(Self.text($0.x)) \(Self.text($0.y))" }.joined(separator: "L")
    body += "<path class=\"\(name)\" d=\"M\(steps)\(isClosed ? "Z" : "")\"/>"
  }

  /// A mark of one of a few shapes, so that series differ without colours.
  mutating func mark(_ shape: Int, x: Double, y: Double, class name: String) {
    switch shape % 3 {
    case 0: path(Self.circle(x, y), class: name, isClosed: true)
    case 1:
      path([(x - 4, y - 4), (x + 4, y - 4), (x + 4, y + 4), (x - 4, y + 4)], class: name, isClosed: true)
    default: path([(x, y - 5), (x + 5, y + 4), (x - 5, y + 4)], class: name, isClosed: true)
    }
  }

  private static func circle(_ x: Double, _ y: Double) -> [(x: Double, y: Double)] {
    (0..<16).map { corner in
      let angle = Double(corner) * .pi / 8
      return (x + 4.5 * cos(angle), y + 4.5 * sin(angle))
    }
  }

  mutating func text(_ text: String, x: Double, y: Double, anchor: Anchor = .start, class name: String = "t")
  {
    body +=
      "<text class=\"\(name)\" x=\"\(Self.text(x))\" y=\"\(Self.text(y))\" text-anchor=\"\(anchor.rawValue)\">"
      + "\(Markup.escaped(text))</text>"
  }

  /// The drawing as an `svg` element with its text alternative.
  ///
  /// - Parameters:
  ///   - id: unique in the page.
  ///   - title: what it is.
  ///   - description: what there is to see in it.
  func element(id: String, title: String, description: String) -> String {
    "<svg role=\"img\" viewBox=\"0 0 \(Self.text(width)) \(Self.text(height))\" "
      + "aria-labelledby=\"\(id)-title \(id)-desc\"><title id=\"\(id)-title\">\(Markup.escaped(title))</title>"
      + "<desc id=\"\(id)-desc\">\(Markup.escaped(description))</desc>\(body)</svg>"
  }
}
