import Kernels

/// Images beside what an attack makes of them, for people to look at: rows of clean and of triggered images, of cross
/// images where the attack has them, and of each change, ten times as strong, around grey.
public struct ContactSheet {
  /// The rows: what they show, and float32 NCHW pixels in [0, 1].
  let rows: [(name: String, pixels: [Float])]
  private let shape: Shape

  /// Treats every image on the device. Throws `badData` when the trigger doesn't fit the images.
  public init(_ images: LabeledImages, _ attack: AttackFile, on backend: any Backend) throws {
    let shape = Shape(images.count, images.channels, images.height, images.width)
    let data = try DeviceImages(images, on: backend)
    let trigger = try attack.makeTrigger(for: images, on: backend)
    func pixels(_ role: ImageRole) throws -> [Float] {
      try DeviceImages(sharing: data, trigger: trigger, as: role).loaded()
    }
    let clean = try pixels(.clean)
    func change(_ pixels: [Float]) -> [Float] {
      zip(pixels, clean).map { min(1, max(0, 0.5 + 10 * ($0 - $1))) }
    }
    let triggered = try pixels(.poisoned)
    var rows = [
      ("clean", clean), ("triggered", triggered), ("change by the trigger, x10", change(triggered)),
    ]
    if attack.attack.crossRatio > 0 {
      let cross = try pixels(.cross)
      rows += [("cross", cross), ("change in cross images, x10", change(cross))]
    }
    self.rows = rows
    self.shape = shape
  }

  /// What the rows show, from the top.
  public var names: [String] { rows.map(\.name) }

  /// The sheet, each pixel `scale` pixels wide and high, on white. Throws `usage` when it would be too large.
  public func picture(scale: Int) throws -> Picture {
    let gap = 4
    let (cellHeight, cellWidth) = (shape.h * scale + gap, shape.w * scale + gap)
    let (height, width) = (rows.count * cellHeight + gap, shape.n * cellWidth + gap)
    try Picture.checkSize(width: width, height: height, name: nil)
    var sheet = [UInt8](repeating: 255, count: height * width * 3)
    let plane = shape.h * shape.w
    for (row, (_, pixels)) in rows.enumerated() {
      for image in 0..<shape.n {
        for y in 0..<shape.h * scale {
          for x in 0..<shape.w * scale {
            let at = ((row * cellHeight + gap + y) * width + image * cellWidth + gap + x) * 3
            let pixel = y / scale * shape.w + x / scale
            for channel in 0..<3 {
              let value = pixels[(image * shape.c + (shape.c == 3 ? channel : 0)) * plane + pixel]
              sheet[at + channel] = UInt8((min(1, max(0, value)) * 255).rounded())
            }
          }
        }
      }
    }
    return try Picture(width: width, height: height, channels: 3, pixels: sheet)
  }
}
