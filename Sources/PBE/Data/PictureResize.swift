import Kernels

extension Picture {
  /// The picture scaled to another size, bilinearly: where it shrinks, the triangle widens to the scale, so that no
  /// pixel is passed over. Columns first, then rows, in integers; this gives Pillow's `BILINEAR` bit for bit, which
  /// most training scripts use (Pillow 13 takes the rows first for some sizes, and then differs by at most 1).
  ///
  /// Throws `usage` when the size is refused.
  public func resized(width newWidth: Int, height newHeight: Int) throws -> Picture {
    if newWidth == width && newHeight == height { return self }
    try Self.checkSize(width: newWidth, height: newHeight, name: nil)
    try Self.checkSize(width: newWidth, height: height, name: nil)
    let columns = newWidth == width ? pixels : scaledColumns(Self.taps(from: width, to: newWidth))
    let rows =
      newHeight == height
      ? columns
      : Self.scaledRows(columns, rowSize: newWidth * channels, Self.taps(from: height, to: newHeight))
    return try Picture(width: newWidth, height: newHeight, channels: channels, pixels: rows)
  }

  /// The source pixels of one output pixel, with their weights as fixed-point numbers.
  private struct Taps {
    let start: Int
    let weights: [Int]
  }

  private static let fractionBits = 22

  private static func taps(from size: Int, to newSize: Int) -> [Taps] {
    let scale = Double(size) / Double(newSize)
    let support = max(scale, 1)
    return (0..<newSize).map { index in
      let centre = (Double(index) + 0.5) * scale
      let start = max(Int(centre - support + 0.5), 0)
      let end = min(Int(centre + support + 0.5), size)
      let raw = (start..<end).map { max(1 - abs((Double($0) - centre + 0.5) / support), 0) }
      let sum = raw.reduce(0, +)
      return Taps(start: start, weights: raw.map { Int($0 / sum * Double(1 << fractionBits) + 0.5) })
    }
  }

  private static func rounded(_ sum: Int) -> UInt8 {
    UInt8(min(max((sum + 1 << (fractionBits - 1)) >> fractionBits, 0), 255))
  }

  private func scaledColumns(_ taps: [Taps]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(height * taps.count * channels)
    for row in 0..<height {
      for tap in taps {
        for channel in 0..<channels {
          var sum = 0
          for (offset, weight) in tap.weights.enumerated() {
            sum += weight * Int(pixels[(row * width + tap.start + offset) * channels + channel])
          }
          result.append(Self.rounded(sum))
        }
      }
    }
    return result
  }

  private static func scaledRows(_ source: [UInt8], rowSize: Int, _ taps: [Taps]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(taps.count * rowSize)
    for tap in taps {
      for column in 0..<rowSize {
        var sum = 0
        for (offset, weight) in tap.weights.enumerated() {
          sum += weight * Int(source[(tap.start + offset) * rowSize + column])
        }
        result.append(rounded(sum))
      }
    }
    return result
  }
}
