extension Sequence where Element: FloatingPoint {
  /// The median: of an even number of values the mean of the two in the middle; `nan` of none.
  public var median: Element {
    let sorted = sorted()
    guard !sorted.isEmpty else { return .nan }
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }
}
