import Kernels

/// The safetensors format: an 8-byte length, a JSON header, and the elements of all tensors without gaps.
///
/// Specification: https://github.com/huggingface/safetensors (README, "Format").
public enum Safetensors {
  /// The longest header accepted, as in the reference implementation.
  static let headerLimit = 100_000_000

  /// Whether the bytes start as a safetensors file does.
  static func matches(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 9, bytes[8] == UInt8(ascii: "{") else { return false }
    return bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } <= UInt64(headerLimit)
  }

  /// Reads a file's contents; `place` names the file in errors.
  ///
  /// Throws `PBEError(.badData)` unless the tensors fill the data exactly, without gaps and overlaps.
  static func read(_ bytes: [UInt8], place: String) throws -> (
    state: StateDictionary, metadata: [String: String]
  ) {
    var reader = ByteReader(bytes, in: 0..<bytes.count, place: place)
    let length = try reader.length64()
    guard length <= headerLimit else {
      throw PBEError(
        .badData, "the header claims \(length) bytes, and at most \(headerLimit) are accepted", at: place)
    }
    let header = try SafetensorsHeader(StrictJSON.parse(reader.take(length), place: place), place: place)
    try header.checkOffsets(dataSize: reader.remaining)
    var state = StateDictionary()
    for entry in header.entries {
      let start = reader.position + entry.begin
      let data = Array(bytes[start..<start + entry.byteCount])
      state[entry.name] = HostTensor(type: entry.type, shape: entry.shape, bytes: data)
    }
    return (state, header.metadata)
  }

  /// Writes `state` to the file at `path`, all or nothing (``AtomicFile``).
  ///
  /// Wide elements come first, so that all are aligned, and equal widths in the order of their names: equal
  /// models give equal bytes, whatever their order in memory. Throws `PBEError`: `.cannotCreate` or
  /// `.inputOutput` as ``AtomicFile`` does, `.internal` for the reserved name `__metadata__`.
  public static func write(_ state: StateDictionary, metadata: [String: String] = [:], to path: String) throws
  {
    let entries = state.entries.sorted {
      ($1.tensor.type.byteCount, $0.name) < ($0.tensor.type.byteCount, $1.name)
    }
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for (name, tensor) in entries {
      guard name != "__metadata__" else {
        throw PBEError(.internal, "a tensor can't be named __metadata__ in a safetensors file", at: path)
      }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      let end = offset + tensor.bytes.count
      members.append(
        "\(quoted(name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var header = Array("{\(members.joined(separator: ","))}".utf8)
    header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)
    try AtomicFile.write(to: path) { sink in
      try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try sink.write(Array($0)) }
      try sink.write(header)
      for (_, tensor) in entries { try sink.write(tensor.bytes) }
    }
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..<"\u{20}", "\u{7f}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
