import CZlib
import Kernels

/// A zip archive in memory, as far as PyTorch checkpoints need it: stored and deflated members, zip64.
///
/// Format: PKWARE's APPNOTE.TXT, version 6.3.10.
struct ZipArchive {
  /// A file in the archive.
  struct Member {
    var name: String
    var method: UInt16
    var flags: UInt16
    var checksum: UInt32
    var compressedSize: Int
    var size: Int
    var headerOffset: Int
  }

  /// Members by name, from the directory at the end.
  let members: [String: Member]
  /// The names in the directory's order.
  let names: [String]
  private let bytes: [UInt8]
  private let place: String
  private var loaded: [String: ArraySlice<UInt8>] = [:]
  /// How many bytes may still be inflated.
  private var inflationBudget: Int
  /// How many bytes of the file are still unread: no two members share any.
  private var unread: Int

  init(_ bytes: [UInt8], place: String) throws {
    self.bytes = bytes
    self.place = place
    inflationBudget = Self.inflationLimit(fileSize: bytes.count)
    unread = bytes.count
    let directory = try ZipDirectory.find(in: bytes, place: place)
    (members, names) = try directory.members()
  }

  /// Weights hardly compress: far more than this comes only from files made to fill the memory.
  private static func inflationLimit(fileSize: Int) -> Int { 1 << 26 + 16 * fileSize }

  private func failure(_ what: String) -> PBEError {
    PBEError(.badData, what, at: place, remedy: "the file is damaged; copy or download it again")
  }

  /// The contents of a member, inflated and checked; nil when there is no member of this name.
  mutating func contents(_ name: String) throws -> ArraySlice<UInt8>? {
    if let known = loaded[name] { return known }
    guard let member = members[name] else { return nil }
    let shown = "the member \(name.printable())"
    guard member.flags & 1 == 0 else {
      throw PBEError(.badData, "\(shown) is encrypted", at: place, remedy: "decrypt the archive first")
    }
    let stored = bytes[try dataRange(member)]
    // Thousands of members that lie in one another would take the time of each, in a small file.
    guard stored.count <= unread else {
      throw failure("\(shown) and those read before hold more bytes than the file: they overlap")
    }
    unread -= stored.count
    let data: ArraySlice<UInt8>
    switch member.method {
    case 0:
      guard member.size == member.compressedSize else {
        throw failure("\(shown) is stored in \(member.compressedSize) bytes, and \(member.size) are expected")
      }
      data = stored
    case 8: data = try inflate(stored, member)[...]
    default: throw failure("\(shown) is compressed by method \(member.method), and only 0 and 8 are known")
    }
    // PyTorch writes 0 where it was told to leave checksums out (torch.serialization.set_crc32_options).
    if member.checksum != 0 {
      let found = data.withUnsafeBytes { crc32_z(0, $0.baseAddress, $0.count) }
      guard UInt32(truncatingIfNeeded: found) == member.checksum else {
        throw failure("\(shown) does not match its checksum")
      }
    }
    loaded[name] = data
    return data
  }

  private func dataRange(_ member: Member) throws -> Range<Int> {
    guard member.headerOffset <= bytes.count else {
      throw failure("the member \(member.name.printable()) begins beyond the end of the file")
    }
    var reader = ByteReader(bytes, in: member.headerOffset..<bytes.count, place: place)
    guard try reader.integer(UInt32.self) == 0x0403_4b50 else {
      throw failure("the member \(member.name.printable()) has no header where the directory says")
    }
    _ = try reader.range(22)
    let nameLength = Int(try reader.integer(UInt16.self))
    let extraLength = Int(try reader.integer(UInt16.self))
    _ = try reader.range(nameLength + extraLength)
    return try reader.range(member.compressedSize)
  }

  private mutating func inflate(_ stored: ArraySlice<UInt8>, _ member: Member) throws -> [UInt8] {
    let shown = "the member \(member.name.printable())"
    // Deflate never gains more than 1032 to 1, so a larger claim is false, and memory isn't taken for it.
    guard member.size / 1032 <= stored.count, member.size <= inflationBudget else {
      throw failure(
        "\(shown) claims to inflate from \(stored.count) to \(member.size) bytes, which is refused")
    }
    inflationBudget -= member.size
    guard stored.count <= Int(UInt32.max), member.size <= Int(UInt32.max) else {
      throw PBEError(
        .badData, "\(shown) is compressed and larger than 4 GiB", at: place, remedy: "store it uncompressed")
    }
    var complete = false
    let inflated = [UInt8](unsafeUninitializedCapacity: member.size) { output, filled in
      stored.withUnsafeBytes { input in
        var stream = z_stream()
        guard inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
        else {
          return
        }
        defer { inflateEnd(&stream) }
        stream.next_in = UnsafeMutablePointer(mutating: input.bindMemory(to: UInt8.self).baseAddress)
        stream.avail_in = UInt32(input.count)
        // zlib wants an address even for an empty result.
        var nothing: UInt8 = 0
        withUnsafeMutablePointer(to: &nothing) { spare in
          stream.next_out = output.baseAddress ?? spare
          stream.avail_out = UInt32(member.size)
          let status = CZlib.inflate(&stream, Z_FINISH)
          filled = member.size - Int(stream.avail_out)
          complete = status == Z_STREAM_END && stream.avail_out == 0
        }
      }
    }
    guard complete else { throw failure("\(shown) does not inflate to the \(member.size) bytes it claims") }
    return inflated
  }
}
