import Kernels

/// Images beside what an attack makes of them, for people to look at: rows of clean and of triggered images, of cross
/// images where the attack has them, and of each change, ten times as strong, around grey.
public struct ContactSheet {
  /// A row of images.
  struct Row {
    /// What it shows.
    var name: String
    /// float32 NCHW pixels in [0, 1].
    var pixels: [Float]
    /// Whether it shows the change of images rather than images.
    var isChange = false
  }

  /// The rows, from the top.
  private(set) var rows: [Row]
  let shape: Shape

  /// Treats every image on the device; without an attack the sheet has clean images only. Throws `badData` when the trigger
  /// doesn't fit the images, or makes pixels that are not finite.
  public init(_ images: LabeledImages, _ attack: AttackFile?, on backend: any Backend) throws {
    let data = try DeviceImages(images, on: backend)
    self.init(shape: Shape(images.count, images.channels, images.height, images.width), rows: [])
    add("clean", try data.pixels())
    guard let attack else { return }
    let trigger = try attack.makeTrigger(for: images, on: backend)
    func pixels(_ role: ImageRole) throws -> [Float] {
      let pixels = try DeviceImages(sharing: data, trigger: trigger, as: role).pixels()
      guard pixels.allSatisfy(\.isFinite) else {
        throw PBEError(.badData, "the trigger makes pixels that are not finite", at: images.name)
      }
      return pixels
    }
    add("triggered", try pixels(.poisoned), change: "change by the trigger, x10")
    if attack.attack.crossRatio > 0 {
      add("cross", try pixels(.cross), change: "change in cross images, x10")
    }
  }

  /// A sheet of one row: the images `indices` of a data set, with their triggers.
  init(_ data: DeviceImages, _ indices: [Int], name: String) throws {
    var shape = data.images.shape
    shape.n = indices.count
    self.init(shape: shape, rows: [Row(name: name, pixels: try data.pixels(indices))])
  }

  private init(shape: Shape, rows: [Row]) {
    self.shape = shape
    self.rows = rows
  }

  /// Adds a row, and below it the difference to the first one, ten times as strong, around grey.
  mutating func add(_ name: String, _ pixels: [Float], change: String? = nil) {
    rows.append(Row(name: name, pixels: pixels))
    guard let change, let first = rows.first else { return }
    let difference = zip(pixels, first.pixels).map { min(1, max(0, 0.5 + 10 * ($0 - $1))) }
    rows.append(Row(name: change, pixels: difference, isChange: true))
  }

  /// What the rows show, from the top.
  public var names: [String] { rows.map(\.name) }

  /// The sheet, each pixel `scale` pixels wide and high, on white, or on nothing where it `isTransparent`. Throws `usage`
  /// when it would be too large.
  public func picture(scale: Int, isTransparent: Bool = false) throws -> Picture {
    let gap = 4
    let channels = isTransparent ? 4 : 3
    let (cellHeight, cellWidth) = (shape.h * scale + gap, shape.w * scale + gap)
    let (height, width) = (rows.count * cellHeight + gap, shape.n * cellWidth + gap)
    try Picture.checkSize(width: width, height: height, name: nil)
    var sheet = [UInt8](repeating: isTransparent ? 0 : 255, count: height * width * channels)
    let plane = shape.h * shape.w
    for (row, line) in rows.enumerated() {
      for image in 0..<shape.n {
        for y in 0..<shape.h * scale {
          for x in 0..<shape.w * scale {
            let at = ((row * cellHeight + gap + y) * width + image * cellWidth + gap + x) * channels
            let pixel = y / scale * shape.w + x / scale
            for channel in 0..<3 {
              let value = line.pixels[(image * shape.c + (shape.c == 3 ? channel : 0)) * plane + pixel]
              sheet[at + channel] = UInt8((min(1, max(0, value)) * 255).rounded())
            }
            if isTransparent { sheet[at + 3] = 255 }
          }
        }
      }
    }
    return try Picture(width: width, height: height, channels: channels, pixels: sheet)
  }
}
