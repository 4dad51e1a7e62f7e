import Foundation
import Kernels

/// One image as image files hold it: rows of pixels, the channels of a pixel side by side (HWC), 0...255.
public struct Picture: Sendable, Equatable {
  /// Columns.
  public let width: Int
  /// Rows.
  public let height: Int
  /// 1 for grey, 3 for RGB, 4 for RGB and opacity.
  public let channels: Int
  /// height x width x channels bytes.
  public let pixels: [UInt8]

  /// Images with more pixels than this are refused: 64 megapixels.
  public static let mostPixels = 64 << 20
  /// No image file that is read may be larger.
  static let largestFile = 4 * mostPixels + (1 << 20)

  /// Creates a picture from interleaved pixels; throws `usage` when the size is refused or doesn't fit the pixels.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) throws {
    try Self.checkSize(width: width, height: height, name: nil)
    guard [1, 3, 4].contains(channels), pixels.count == width * height * channels else {
      throw PBEError(
        .usage,
        "\(pixels.count) bytes are no picture of \(width) x \(height) pixels with \(channels) channels")
    }
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// Creates a picture from planar pixels (CHW); throws as ``init(width:height:channels:pixels:)``.
  public init(width: Int, height: Int, channels: Int, planar: [UInt8]) throws {
    try Self.checkSize(width: width, height: height, name: nil)
    var interleaved = planar
    let plane = width * height
    if [3, 4].contains(channels), planar.count == plane * channels {
      for channel in 0..<channels {
        for pixel in 0..<plane { interleaved[pixel * channels + channel] = planar[channel * plane + pixel] }
      }
    }
    try self.init(width: width, height: height, channels: channels, pixels: interleaved)
  }

  /// Reads a PNG, JPEG or PPM file as RGB (grey files get three equal channels), whatever its name says.
  ///
  /// Throws `missingInput` when it can't be read, and `badData` when it is none of these or damaged.
  public init(file path: String) throws {
    let bytes = try InputFile.read(path, limit: Self.largestFile, remedy: "name a PNG, JPEG or PPM file")
    if bytes.isEmpty {
      throw PBEError(.badData, "the image file is empty", at: path, remedy: "replace the file")
    } else if bytes.starts(with: Self.pngStart) {
      self = try Picture(png: bytes, name: path)
    } else if bytes.starts(with: Self.jpegStart) {
      self = try Picture(jpeg: bytes, name: path).rgb()
    } else if Self.ppmStarts.contains(where: { bytes.starts(with: $0) }) {
      self = try Picture(ppm: bytes, name: path).rgb()
    } else {
      throw PBEError(
        .badData, "the file is neither PNG, JPEG nor binary PPM", at: path, remedy: "convert it to PNG")
    }
  }

  private static let pngStart: [UInt8] = [0x89, 0x50, 0x4E, 0x47], jpegStart: [UInt8] = [0xFF, 0xD8]
  private static let ppmStarts: [[UInt8]] = [[0x50, 0x35], [0x50, 0x36]]

  /// Whether a file begins as those do that ``init(file:)`` reads, whatever its name says; throws `missingInput` when it can't
  /// be read.
  static func isIn(_ path: String) throws -> Bool {
    let start = try InputFile.start(of: path, count: pngStart.count, remedy: "move it elsewhere")
    if start.starts(with: pngStart) || start.starts(with: jpegStart) { return true }
    // Two letters alone might begin a text.
    return ppmStarts.contains { start.starts(with: $0) }
      && start.dropFirst(2).first.map { [9, 10, 13, 32].contains($0) } == true
  }

  /// The pixels channel after channel (CHW).
  public var planar: [UInt8] {
    if channels == 1 { return pixels }
    let plane = width * height
    return [UInt8](unsafeUninitializedCapacity: pixels.count) { buffer, count in
      for channel in 0..<channels {
        for pixel in 0..<plane { buffer[channel * plane + pixel] = pixels[pixel * channels + channel] }
      }
      count = pixels.count
    }
  }

  /// The picture with three channels: grey is repeated, opacity is dropped.
  public func rgb() throws -> Picture {
    if channels == 3 { return self }
    var colour: [UInt8] = []
    colour.reserveCapacity(width * height * 3)
    for pixel in 0..<width * height {
      for channel in 0..<3 { colour.append(pixels[pixel * channels + (channels == 1 ? 0 : channel)]) }
    }
    return try Picture(width: width, height: height, channels: 3, pixels: colour)
  }

  /// The picture with one channel: the luma of ITU-R 601 in integers, as Pillow's `L`. Opacity is dropped.
  public func grey() throws -> Picture {
    if channels == 1 { return self }
    // Weights of 1/65536; together they are one, so that grey stays as it is.
    let weights = [19595, 38470, 7471]
    var luma: [UInt8] = []
    luma.reserveCapacity(width * height)
    for pixel in 0..<width * height {
      var sum = 0x8000
      for channel in 0..<3 { sum += weights[channel] * Int(pixels[pixel * channels + channel]) }
      luma.append(UInt8(sum >> 16))
    }
    return try Picture(width: width, height: height, channels: 1, pixels: luma)
  }

  /// Throws when a picture would be empty or has more than ``mostPixels``; `name` is the file concerned.
  static func checkSize(width: Int, height: Int, name: String?) throws {
    // Side by side: their product could overflow.
    guard width > 0, height > 0, width <= mostPixels, height <= mostPixels, width * height <= mostPixels
    else {
      throw PBEError(
        name == nil ? .usage : .badData, "a picture of \(width) x \(height) pixels is refused", at: name,
        remedy: "pictures have at least one and at most \(mostPixels) pixels")
    }
  }
}
