import Kernels

/// The directory at the end of a zip archive.
struct ZipDirectory {
  private let bytes: [UInt8]
  private let place: String
  private let range: Range<Int>
  private let count: Int
  private static let copy = "the file is damaged; copy or download it again"

  /// Finds the directory; throws `PBEError(.badData)` when the archive's end is missing or contradicts
  /// itself.
  static func find(in bytes: [UInt8], place: String) throws -> ZipDirectory {
    let missing = PBEError(
      .badData, "this is a zip archive (PyTorch 1.6 or newer) whose directory at the end is missing",
      at: place,
      remedy: "the file is cut short; copy or download it again")
    guard bytes.count >= 22, let end = endRecord(in: bytes) else { throw missing }
    var reader = ByteReader(bytes, in: end + 4..<bytes.count, place: place)
    let disk = try reader.integer(UInt16.self)
    _ = try reader.range(4)
    var count = Int(try reader.integer(UInt16.self))
    var size = Int(try reader.integer(UInt32.self))
    var offset = Int(try reader.integer(UInt32.self))
    if count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff || disk == 0xffff,
      let record = try wideRecord(in: bytes, before: end, place: place)
    {
      (count, size, offset) = record
    }
    guard offset <= end, size <= end - offset, count <= size / 46 else {
      throw PBEError(
        .badData,
        "the zip directory claims \(count) members in \(size) bytes at offset \(offset), which don't fit",
        at: place, remedy: Self.copy)
    }
    return ZipDirectory(bytes: bytes, place: place, range: offset..<offset + size, count: count)
  }

  /// The record that ends an archive; only a comment of at most 65535 bytes may follow it.
  private static func endRecord(in bytes: [UInt8]) -> Int? {
    let last = bytes.count - 22
    for start in stride(from: last, through: max(0, last - 65535), by: -1)
    where bytes[start] == 0x50 && bytes[start + 1] == 0x4b && bytes[start + 2] == 5 && bytes[start + 3] == 6 {
      let comment = Int(bytes[start + 20]) | Int(bytes[start + 21]) << 8
      if start + 22 + comment == bytes.count { return start }
    }
    return nil
  }

  /// The zip64 record, which has the numbers that don't fit the short one.
  private static func wideRecord(
    in bytes: [UInt8], before end: Int, place: String
  ) throws -> (count: Int, size: Int, offset: Int)? {
    guard end >= 20 else { return nil }
    var locator = ByteReader(bytes, in: end - 20..<end, place: place)
    guard try locator.integer(UInt32.self) == 0x0706_4b50 else { return nil }
    _ = try locator.range(4)
    let start = try locator.length64()
    guard start < end else {
      throw PBEError(
        .badData, "the zip64 record begins beyond the end of the archive", at: place, remedy: Self.copy)
    }
    var reader = ByteReader(bytes, in: start..<end, place: place)
    guard try reader.integer(UInt32.self) == 0x0606_4b50 else {
      throw PBEError(.badData, "the zip64 record is not where the archive says", at: place, remedy: Self.copy)
    }
    _ = try reader.range(28)
    return (try reader.length64(), try reader.length64(), try reader.length64())
  }

  /// The members by name, and the names in order.
  func members() throws -> ([String: ZipArchive.Member], [String]) {
    var members: [String: ZipArchive.Member] = [:]
    var names: [String] = []
    var reader = ByteReader(bytes, in: range, place: place)
    for _ in 0..<count {
      let member = try member(&reader)
      guard members.updateValue(member, forKey: member.name) == nil else {
        throw PBEError(
          .badData, "the zip archive has two members \(member.name.printable())", at: place, remedy: Self.copy
        )
      }
      names.append(member.name)
    }
    return (members, names)
  }

  private func member(_ reader: inout ByteReader) throws -> ZipArchive.Member {
    guard try reader.integer(UInt32.self) == 0x0201_4b50 else {
      throw PBEError(
        .badData, "the zip directory is damaged at offset \(reader.position - 4)", at: place,
        remedy: Self.copy)
    }
    _ = try reader.range(4)
    let flags = try reader.integer(UInt16.self)
    let method = try reader.integer(UInt16.self)
    _ = try reader.range(4)
    let checksum = try reader.integer(UInt32.self)
    let compressedSize = try reader.integer(UInt32.self)
    let size = try reader.integer(UInt32.self)
    let nameLength = Int(try reader.integer(UInt16.self))
    let extraLength = Int(try reader.integer(UInt16.self))
    let commentLength = Int(try reader.integer(UInt16.self))
    _ = try reader.range(8)
    let offset = try reader.integer(UInt32.self)
    let name = String(decoding: try reader.take(nameLength), as: UTF8.self)
    guard name.isStreamSafe else {
      throw PBEError(
        .badData, "a name in the zip archive has more than 30 marks in a row", at: place,
        remedy: "load it with PyTorch and save it again")
    }
    let extra = try reader.range(extraLength)
    _ = try reader.range(commentLength)
    var member = ZipArchive.Member(
      name: name, method: method, flags: flags, checksum: checksum, compressedSize: Int(compressedSize),
      size: Int(size), headerOffset: Int(offset))
    try widen(&member, extra)
    return member
  }

  /// Takes the fields that are all ones from the zip64 field, which holds only those, in this order.
  private func widen(_ member: inout ZipArchive.Member, _ extra: Range<Int>) throws {
    let wide = Int(UInt32.max)
    guard member.size == wide || member.compressedSize == wide || member.headerOffset == wide else { return }
    var fields = ByteReader(bytes, in: extra, place: place)
    while fields.remaining >= 4 {
      let identifier = try fields.integer(UInt16.self)
      let body = try fields.range(Int(try fields.integer(UInt16.self)))
      guard identifier == 1 else { continue }
      var reader = ByteReader(bytes, in: body, place: place)
      if member.size == wide { member.size = try reader.length64() }
      if member.compressedSize == wide { member.compressedSize = try reader.length64() }
      if member.headerOffset == wide { member.headerOffset = try reader.length64() }
      return
    }
  }
}
