import Kernels

/// Reads little-endian fields from bytes; every read is checked against the end.
struct ByteReader {
  let bytes: [UInt8]
  /// The index of the next byte.
  private(set) var position: Int
  /// The index after the last byte that may be read.
  let end: Int
  /// The file, for messages.
  let place: String

  /// Starts at `range`'s beginning; `range` must lie within `bytes`.
  init(_ bytes: [UInt8], in range: Range<Int>, place: String) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
    self.place = place
  }

  var remaining: Int { end - position }

  /// The index range of the next `count` bytes, which are passed over.
  mutating func range(_ count: Int) throws -> Range<Int> {
    guard count >= 0, count <= remaining else {
      throw PBEError(
        .badData, "the data end too early: \(count) bytes expected at offset \(position), \(remaining) found",
        at: place, remedy: "the file is cut short or damaged; copy or download it again")
    }
    let start = position
    position += count
    return start..<position
  }

  /// The next `count` bytes.
  mutating func take(_ count: Int) throws -> ArraySlice<UInt8> { bytes[try range(count)] }

  mutating func byte() throws -> UInt8 { bytes[try range(1).lowerBound] }

  mutating func integer<Value: FixedWidthInteger & BitwiseCopyable>(_: Value.Type) throws -> Value {
    let range = try range(MemoryLayout<Value>.size)
    let value = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: range.lowerBound, as: Value.self) }
    return Value(littleEndian: value)
  }

  /// An unsigned 64-bit length or offset; one that is beyond `Int` is refused.
  mutating func length64() throws -> Int {
    let value = try integer(UInt64.self)
    guard let length = Int(exactly: value) else {
      throw PBEError(.badData, "a length of \(value) bytes is beyond any file", at: place)
    }
    return length
  }

  /// The bytes before the next line feed, which is passed over.
  mutating func line() throws -> ArraySlice<UInt8> {
    guard let lineEnd = bytes[position..<end].firstIndex(of: 0x0a) else {
      throw PBEError(
        .badData, "a line of text that begins at offset \(position) does not end", at: place,
        remedy: "the file is cut short or damaged; copy or download it again")
    }
    let line = bytes[position..<lineEnd]
    position = lineEnd + 1
    return line
  }
}
