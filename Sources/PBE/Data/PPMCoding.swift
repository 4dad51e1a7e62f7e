import Kernels

extension Picture {
  /// Takes a binary PPM (P6, RGB) or PGM (P5, grey) apart, of 8 bits; `name` is for errors.
  ///
  /// Throws `badData` when the header is wrong, the pixels are cut off or the picture is too large.
  public init(ppm bytes: [UInt8], name: String) throws {
    var header = NetpbmHeader(bytes: bytes)
    guard let channels = header.channels() else {
      throw PBEError(.badData, "the file is no binary PPM", at: name, remedy: "convert it to P6 or PNG")
    }
    guard let width = header.number(), let height = header.number(), let largest = header.number(),
      header.endsWithSpace()
    else {
      throw PBEError(.badData, "the PPM header is damaged or cut off", at: name, remedy: "replace the file")
    }
    guard largest == 255 else {
      throw PBEError(
        .badData, "the largest value is \(largest); only 8 bits (255) are read", at: name,
        remedy: "convert the file")
    }
    try Self.checkSize(width: width, height: height, name: name)
    let size = width * height * channels
    let found = bytes.count - header.position
    guard found >= size else {
      throw PBEError(
        .badData, "the file is cut off: \(found) bytes of pixels; \(size) were expected", at: name,
        remedy: "replace the file")
    }
    try self.init(
      width: width, height: height, channels: channels,
      pixels: Array(bytes[header.position..<header.position + size]))
  }

  /// The picture as a binary PPM file (PGM where it is grey); opacity is dropped.
  public func ppm() throws -> [UInt8] {
    let picture = channels == 4 ? try rgb() : self
    return Array("\(picture.channels == 1 ? "P5" : "P6")\n\(width) \(height)\n255\n".utf8) + picture.pixels
  }
}

/// Reads the header of a PPM or PGM file: numbers apart by white space and comments.
private struct NetpbmHeader {
  let bytes: [UInt8]
  private(set) var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func channels() -> Int? {
    guard bytes.count > 2, bytes[0] == UInt8(ascii: "P") else { return nil }
    position = 2
    switch bytes[1] {
    case UInt8(ascii: "5"): return 1
    case UInt8(ascii: "6"): return 3
    default: return nil
    }
  }

  /// The next number, of at most nine digits; white space or a comment must come before.
  mutating func number() -> Int? {
    let start = position
    while position < bytes.count {
      if bytes[position] == UInt8(ascii: "#") {
        while position < bytes.count, !Self.endsLine(bytes[position]) { position += 1 }
      } else if Self.isSpace(bytes[position]) {
        position += 1
      } else {
        break
      }
    }
    guard position > start else { return nil }
    let first = position
    var value = 0
    while position < bytes.count, (0x30...0x39).contains(bytes[position]), position - first < 9 {
      value = value * 10 + Int(bytes[position] - 0x30)
      position += 1
    }
    return position > first ? value : nil
  }

  /// Steps over the one white space byte that parts the header from the pixels.
  mutating func endsWithSpace() -> Bool {
    guard position < bytes.count, Self.isSpace(bytes[position]) else { return false }
    position += 1
    return true
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
  private static func endsLine(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }
}
