import CPNG
import Kernels

extension Picture {
  /// Decodes a PNG file to `channels`: 1 (grey), 3 (RGB, transparent parts laid over black) or 4 (with opacity).
  /// Files of 16 bits are rounded to 8. What a file says of its colours (`gAMA`, `cHRM`, `sRGB`, `iCCP`) is passed over, as
  /// in Pillow and OpenCV, with which models are trained. `name` is for errors.
  ///
  /// Throws `badData` when it is no PNG, damaged, cut off or too large.
  public init(png bytes: [UInt8], name: String, channels: Int = 3) throws {
    let format = try Self.pngFormat(channels)
    var image = png_image()
    image.version = png_uint_32(PNG_IMAGE_VERSION)
    defer { png_image_free(&image) }
    let pixels = try Self.withoutColourSpaces(bytes).withUnsafeBytes { source in
      guard let base = source.baseAddress, png_image_begin_read_from_memory(&image, base, source.count) != 0
      else {
        throw Self.pngError(image, name: name)
      }
      try Self.checkSize(width: Int(image.width), height: Int(image.height), name: name)
      image.format = format
      // Else libpng takes them for linear light, unless they say what they are.
      image.flags |= png_uint_32(PNG_IMAGE_FLAG_16BIT_sRGB)
      var pixels = [UInt8](repeating: 0, count: Int(image.width) * Int(image.height) * channels)
      let finished = pixels.withUnsafeMutableBytes {
        png_image_finish_read(&image, nil, $0.baseAddress, 0, nil)
      }
      guard finished != 0, image.warning_or_error & 2 == 0 else { throw Self.pngError(image, name: name) }
      return pixels
    }
    try self.init(width: Int(image.width), height: Int(image.height), channels: channels, pixels: pixels)
  }

  /// The picture as a PNG file; throws `internal` when it can't be encoded.
  public func png() throws -> [UInt8] {
    var image = png_image()
    image.version = png_uint_32(PNG_IMAGE_VERSION)
    image.width = png_uint_32(width)
    image.height = png_uint_32(height)
    image.format = try Self.pngFormat(channels)
    defer { png_image_free(&image) }
    return try pixels.withUnsafeBytes { source in
      // The first call only measures.
      var size: png_alloc_size_t = 0
      guard png_image_write_to_memory(&image, nil, &size, 0, source.baseAddress, 0, nil) != 0 else {
        throw PBEError(.internal, "encoding a PNG failed: \(Self.pngMessage(image))")
      }
      var written = false
      let file = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
        written =
          png_image_write_to_memory(&image, buffer.baseAddress, &size, 0, source.baseAddress, 0, nil) != 0
        count = written ? Int(size) : 0
      }
      guard written else { throw PBEError(.internal, "encoding a PNG failed: \(Self.pngMessage(image))") }
      return file
    }
  }

  /// A file without the chunks by which libpng would change colours. From where it is damaged on it stays as it is.
  private static func withoutColourSpaces(_ file: [UInt8]) -> [UInt8] {
    let unwanted = ["gAMA", "cHRM", "sRGB", "iCCP"].map { Array($0.utf8)[...] }
    var (kept, position) = ([UInt8](), min(8, file.count))
    kept.reserveCapacity(file.count)
    kept += file[..<position]
    // Length, type, contents, checksum.
    while file.count - position >= 12 {
      let length = file[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
      guard length <= file.count - position - 12 else { break }
      let end = position + 12 + length
      if !unwanted.contains(file[position + 4..<position + 8]) { kept += file[position..<end] }
      position = end
    }
    return kept + file[position...]
  }

  private static func pngFormat(_ channels: Int) throws -> png_uint_32 {
    switch channels {
    case 1: 0
    case 3: png_uint_32(PNG_FORMAT_FLAG_COLOR)
    case 4: png_uint_32(PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA)
    default: throw PBEError(.usage, "a PNG has 1, 3 or 4 channels, not \(channels)")
    }
  }

  private static func pngError(_ image: png_image, name: String) -> PBEError {
    PBEError(
      .badData, "the file is no PNG, or is damaged or cut off (\(pngMessage(image)))", at: name,
      remedy: "replace the file")
  }

  private static func pngMessage(_ image: png_image) -> String {
    withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
