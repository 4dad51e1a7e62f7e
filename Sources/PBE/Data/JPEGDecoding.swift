import CJPEG
import Kernels

extension Picture {
  /// Decodes a JPEG file, baseline or progressive: grey files to one channel, others to RGB. As most programs do, it
  /// takes the pixels as they lie in the file, whatever turn an Exif tag asks for. `name` is for errors.
  ///
  /// Throws `badData` when it is no JPEG, damaged, cut off, too large or CMYK.
  public init(jpeg bytes: [UInt8], name: String) throws {
    var message = [CChar](repeating: 0, count: Int(PBE_JPEG_MESSAGE))
    func failure() -> PBEError {
      let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      return PBEError(
        .badData, "the file is no JPEG, or is damaged or cut off (\(text))", at: name,
        remedy: "replace the file")
    }
    var size = pbe_jpeg_size()
    var isRead = bytes.withUnsafeBufferPointer { file in
      file.baseAddress.map { pbe_jpeg_read_size($0, file.count, &size, &message) } ?? 0
    }
    guard isRead == 1 else { throw failure() }
    try Self.checkSize(width: Int(size.width), height: Int(size.height), name: name)
    guard size.channels > 0 else {
      throw PBEError(
        .badData, "the JPEG's colours are neither grey nor RGB", at: name,
        remedy: "convert it to RGB")
    }
    let (width, height, channels) = (Int(size.width), Int(size.height), Int(size.channels))
    var pixels = [UInt8](repeating: 0, count: width * height * channels)
    isRead = bytes.withUnsafeBufferPointer { file in
      pixels.withUnsafeMutableBufferPointer { room in
        guard let source = file.baseAddress, let target = room.baseAddress else { return 0 }
        return pbe_jpeg_read_pixels(source, file.count, size, target, &message)
      }
    }
    guard isRead == 1 else { throw failure() }
    try self.init(width: width, height: height, channels: channels, pixels: pixels)
  }
}
