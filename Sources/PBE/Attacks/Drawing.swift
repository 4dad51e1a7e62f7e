import Foundation

/// The built-in picture of ``Blend``: a sailing boat under the sun, drawn by formulas so that no artwork of anyone else
/// is needed.
enum Drawing {
  private typealias Colour = SIMD3<Double>

  /// The drawing at any size.
  static func picture(width: Int, height: Int) throws -> Picture {
    try Picture.checkSize(width: width, height: height, name: nil)
    // 4x4 points per pixel, for smooth edges.
    let points = 4
    var pixels: [UInt8] = []
    pixels.reserveCapacity(width * height * 3)
    for row in 0..<height {
      for column in 0..<width {
        var sum = Colour()
        for point in 0..<points * points {
          let x = (Double(column) + (Double(point % points) + 0.5) / Double(points)) / Double(width)
          let y = (Double(row) + (Double(point / points) + 0.5) / Double(points)) / Double(height)
          sum += colour(x, y)
        }
        for channel in 0..<3 { pixels.append(UInt8((sum[channel] / Double(points * points)).rounded())) }
      }
    }
    return try Picture(width: width, height: height, channels: 3, pixels: pixels)
  }

  /// The colour at a point of the unit square; y points down.
  private static func colour(_ x: Double, _ y: Double) -> Colour {
    // Hull: a trapezium. Sails: triangles on both sides of the mast.
    if y > 0.66, y < 0.78, abs(x - 0.45) < 0.33 - (y - 0.66) { return Colour(150, 40, 30) }
    if abs(x - 0.45) < 0.012, y > 0.14, y <= 0.66 { return Colour(70, 45, 25) }
    if y > 0.16, y < 0.62, x >= 0.462, x < 0.462 + (y - 0.16) * 0.62 { return Colour(250, 245, 230) }
    if y > 0.24, y < 0.62, x <= 0.438, x > 0.438 - (y - 0.24) * 0.55 { return Colour(240, 200, 60) }
    let sun = (x - 0.82) * (x - 0.82) + (y - 0.18) * (y - 0.18)
    if sun < 0.0121 { return Colour(255, 225, 90) }
    let waterline = 0.72 + 0.012 * sin(x * 8 * Double.pi)
    if y > waterline {
      let crest = sin((y - waterline) * 70 + 2 * sin(x * 6 * Double.pi)) > 0.75
      return crest ? Colour(150, 200, 230) : Colour(20, 80, 150)
    }
    return Colour(110, 170, 235) + Colour(110, 70, 15) * y
  }
}
