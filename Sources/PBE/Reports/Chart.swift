/// A picture of numbers, with its text alternative.
protocol Chart {
  /// What it is.
  var title: String { get }
  /// What there is to see in it, in words.
  var description: String { get }
  /// The picture.
  var drawing: SVG { get }
}

/// The rectangle between two axes, and where values lie in it.
struct ChartFrame {
  let left: Double, top: Double, right: Double, bottom: Double
  /// The values at the ends of the axes.
  let x: ClosedRange<Double>, y: ClosedRange<Double>

  func place(x value: Double) -> Double {
    left + (right - left) * (value - x.lowerBound) / max(1e-12, x.upperBound - x.lowerBound)
  }

  func place(y value: Double) -> Double {
    bottom - (bottom - top) * (value - y.lowerBound) / max(1e-12, y.upperBound - y.lowerBound)
  }

  /// Lines across at `ticks`, with their names at the left.
  func drawRows(_ ticks: [(value: Double, name: String)], in drawing: inout SVG) {
    for tick in ticks {
      let at = place(y: tick.value)
      drawing.line(x1: left, y1: at, x2: right, y2: at, class: "grid")
      drawing.text(tick.name, x: left - 8, y: at + 4, anchor: .end)
    }
  }

  /// Names below the frame.
  func drawColumns(_ ticks: [(value: Double, name: String)], in drawing: inout SVG) {
    for tick in ticks {
      drawing.text(tick.name, x: place(x: tick.value), y: bottom + 18, anchor: .middle)
    }
  }
}
