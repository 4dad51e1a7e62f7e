import CZlib

/// A CRC-32 (zlib's) over any number of pieces: enough to tell in a run record that two runs read the same data,
/// not meant against forgery.
public struct Checksum: Sendable, Equatable {
  /// The CRC-32 of the bytes so far.
  public private(set) var value: UInt32 = 0

  /// Creates the checksum of no bytes.
  public init() {}

  /// Takes in more bytes.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    // An empty buffer's base may be nil, which makes zlib start over from its initial value.
    guard !bytes.isEmpty, let base = bytes.bindMemory(to: UInt8.self).baseAddress else { return }
    value = UInt32(truncatingIfNeeded: crc32_z(CUnsignedLong(value), base, CZlib.z_size_t(bytes.count)))
  }

  /// Takes in more bytes.
  public mutating func update(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { update($0) }
  }

  /// Takes in numbers as little-endian bytes.
  public mutating func update(_ numbers: [Int32]) {
    numbers.map(\.littleEndian).withUnsafeBytes { update($0) }
  }

  /// The checksum as eight hexadecimal digits.
  public var hex: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }

  /// The checksum of `bytes` as eight hexadecimal digits.
  public static func hex(of bytes: [UInt8]) -> String {
    var sum = Checksum()
    sum.update(bytes)
    return sum.hex
  }
}
