import Kernels

/// The checked header of a safetensors file.
struct SafetensorsHeader {
  /// One tensor: its elements are the bytes `begin ..< begin + byteCount` of the data.
  struct Entry {
    var name: String
    var type: HostTensor.ElementType
    var shape: [Int]
    var begin: Int
    var byteCount: Int
  }

  private(set) var entries: [Entry] = []
  private(set) var metadata: [String: String] = [:]
  private let place: String

  init(_ json: StrictJSON, place: String) throws {
    self.place = place
    guard case .object(let members) = json else { throw failure("the header is not an object") }
    for (name, value) in members {
      if name == "__metadata__" {
        try readMetadata(value)
      } else {
        entries.append(try entry(name, value))
      }
    }
  }

  private func failure(_ what: String) -> PBEError {
    PBEError(.badData, what, at: place, remedy: "the file is damaged; copy or download it again")
  }

  private mutating func readMetadata(_ value: StrictJSON) throws {
    guard case .object(let members) = value else { throw failure("__metadata__ is not an object") }
    for (name, value) in members {
      guard case .string(let text) = value else {
        throw failure("the metadata \"\(name.printable())\" is not a string")
      }
      metadata[name] = text
    }
  }

  private func entry(_ name: String, _ value: StrictJSON) throws -> Entry {
    let shown = "the tensor \"\(name.printable())\""
    guard case .object(let members) = value else { throw failure("\(shown) is not described by an object") }
    var type: String?
    var shape: [Int]?
    var offsets: [Int]?
    for (field, value) in members {
      switch (field, value) {
      case ("dtype", .string(let text)): type = text
      case ("shape", .array(let values)): shape = Self.integers(values)
      case ("data_offsets", .array(let values)): offsets = Self.integers(values)
      default: break
      }
    }
    guard let type else { throw failure("\(shown) has no dtype") }
    guard let elementType = HostTensor.ElementType(rawValue: type) else {
      let known = HostTensor.ElementType.allCases.map(\.rawValue).joined(separator: ", ")
      throw PBEError(
        .badData, "\(shown) has the element type \(type.printable()), which is not supported", at: place,
        remedy: "convert the model to one of \(known)")
    }
    guard let shape, shape.count <= Unpickler.rankLimit,
      let byteCount = HostTensor.byteCount(of: elementType, shape: shape)
    else {
      throw failure("\(shown) has no shape that a tensor can have")
    }
    guard let offsets, offsets.count == 2, offsets[0] >= 0, offsets[1] >= offsets[0] else {
      throw failure("\(shown) has no data_offsets [begin, end]")
    }
    guard offsets[1] - offsets[0] == byteCount else {
      throw failure(
        "\(shown) needs \(byteCount) bytes by its shape and dtype, and has \(offsets[1] - offsets[0])")
    }
    return Entry(name: name, type: elementType, shape: shape, begin: offsets[0], byteCount: byteCount)
  }

  private static func integers(_ values: [StrictJSON]) -> [Int]? {
    var result: [Int] = []
    for value in values {
      guard case .integer(let number) = value else { return nil }
      result.append(number)
    }
    return result
  }

  /// Throws unless the entries cover `dataSize` bytes exactly, each byte once.
  func checkOffsets(dataSize: Int) throws {
    var end = 0
    for entry in entries.sorted(by: { ($0.begin, $0.byteCount) < ($1.begin, $1.byteCount) }) {
      guard entry.begin == end else {
        throw failure(
          "the tensor \"\(entry.name.printable())\" begins at byte \(entry.begin) of the data, "
            + "\(entry.begin < end ? "inside another tensor" : "after a gap") (byte \(end) expected)")
      }
      // No overflow: both are at most the end offset of this entry, which is an Int.
      end = entry.begin + entry.byteCount
    }
    guard end == dataSize else {
      throw failure("the header describes \(end) bytes of data, and the file holds \(dataSize)")
    }
  }
}
