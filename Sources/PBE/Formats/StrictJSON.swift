import Kernels

/// A JSON value; members of an object keep their order.
enum StrictJSON {
  case null
  case bool(Bool)
  case integer(Int)
  /// A number that is not an integer within `Int`, as written.
  case otherNumber(String)
  case string(String)
  case array([StrictJSON])
  case object([(name: String, value: StrictJSON)])

  /// Parses UTF-8 text. Unlike Foundation's parser this one refuses duplicate names (a file must not mean two
  /// things to two readers), never rounds an integer, and limits the depth. Throws `badData` with the byte and `remedy`.
  static func parse(
    _ bytes: ArraySlice<UInt8>, place: String,
    remedy: String = "the file is damaged; copy or download it again"
  ) throws -> StrictJSON {
    var parser = StrictJSONParser(bytes: Array(bytes), place: place, remedy: remedy)
    return try parser.document()
  }
}

private struct StrictJSONParser {
  static let depthLimit = 16

  let bytes: [UInt8]
  let place: String
  let remedy: String
  var position = 0

  mutating func document() throws -> StrictJSON {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { throw failure("the text begins with a byte order mark") }
    let value = try value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw failure("there is more text after the end") }
    return value
  }

  func failure(_ what: String) -> PBEError {
    PBEError(.badData, "the JSON is not valid at byte \(position): \(what)", at: place, remedy: remedy)
  }

  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
  }

  mutating func accept(_ character: UInt8) -> Bool {
    guard next == character else { return false }
    position += 1
    return true
  }

  mutating func value(depth: Int) throws -> StrictJSON {
    guard depth < Self.depthLimit else {
      throw failure("values are nested more than \(Self.depthLimit) deep")
    }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  mutating func word(_ text: String, _ value: StrictJSON) throws -> StrictJSON {
    guard bytes[position...].starts(with: text.utf8) else { throw failure("a value is expected") }
    position += text.utf8.count
    return value
  }

  mutating func object(depth: Int) throws -> StrictJSON {
    position += 1
    var members: [(name: String, value: StrictJSON)] = []
    var names = Set<String>()
    skipSpace()
    if accept(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      skipSpace()
      let name = try string()
      // Swift compares strings by canonical equivalence; two names that only look alike are refused too.
      guard names.insert(name).inserted else {
        throw failure("the name \"\(name.printable())\" occurs twice")
      }
      skipSpace()
      guard accept(UInt8(ascii: ":")) else { throw failure("a colon is expected") }
      members.append((name, try value(depth: depth + 1)))
      skipSpace()
    } while accept(UInt8(ascii: ","))
    guard accept(UInt8(ascii: "}")) else { throw failure("a comma or a closing brace is expected") }
    return .object(members)
  }

  mutating func array(depth: Int) throws -> StrictJSON {
    position += 1
    var elements: [StrictJSON] = []
    skipSpace()
    if accept(UInt8(ascii: "]")) { return .array(elements) }
    repeat {
      elements.append(try value(depth: depth + 1))
      skipSpace()
    } while accept(UInt8(ascii: ","))
    guard accept(UInt8(ascii: "]")) else { throw failure("a comma or a closing bracket is expected") }
    return .array(elements)
  }

  mutating func number() throws -> StrictJSON {
    let start = position
    while let byte = next, byte >= 0x2b && byte <= 0x39 && byte != 0x2c || byte | 0x20 == 0x65 {
      position += 1
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    let leadingZero = digits.count > 1 && digits.hasPrefix("0") && digits.dropFirst().allSatisfy(\.isNumber)
    guard let first = digits.utf8.first, (0x30...0x39).contains(first), !leadingZero, Double(text) != nil
    else {
      position = start
      throw failure("a value is expected")
    }
    return Int(text).map(StrictJSON.integer) ?? .otherNumber(text)
  }

  mutating func string() throws -> String {
    guard accept(UInt8(ascii: "\"")) else { throw failure("a quotation mark is expected") }
    var text: [UInt8] = []
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          throw failure("a string is not UTF-8")
        }
        guard string.isStreamSafe else { throw failure("a string has more than 30 marks in a row") }
        return string
      case UInt8(ascii: "\\"): text += try escape().utf8
      case 0..<0x20: throw failure("a control character stands in a string")
      default: text.append(byte)
      }
    }
    throw failure("a string does not end")
  }

  mutating func escape() throws -> String {
    guard let byte = next else { throw failure("a string does not end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(UnicodeScalar(byte))
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return try codePoint()
    default: throw failure("an unknown escape stands in a string")
    }
  }

  mutating func codePoint() throws -> String {
    var code = try fourHexDigits()
    if (0xd800..<0xdc00).contains(code), bytes[position...].starts(with: "\\u".utf8) {
      position += 2
      let low = try fourHexDigits()
      guard (0xdc00..<0xe000).contains(low) else { throw failure("half of a surrogate pair stands alone") }
      code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = UnicodeScalar(code) else { throw failure("half of a surrogate pair stands alone") }
    return String(scalar)
  }

  mutating func fourHexDigits() throws -> UInt32 {
    let digits = bytes[position...].prefix(4)
    let isHex = digits.allSatisfy { UnicodeScalar($0).properties.isASCIIHexDigit }
    guard digits.count == 4, isHex, let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else {
      throw failure("four hexadecimal digits are expected")
    }
    position += 4
    return code
  }
}
