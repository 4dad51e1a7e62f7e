import Kernels

extension Unpickler {
  /// Does what one opcode says.
  mutating func execute(_ opcode: PickleOpcode) throws {
    switch opcode {
    case .proto:
      let version = try reader.byte()
      guard version <= 5 else { throw failure("the pickle has protocol \(version), and 0 to 5 are known") }
    case .frame:
      // Only a hint for buffering; still, it can't be longer than what follows.
      let length = try reader.length64()
      guard length <= reader.remaining else { throw failure("the pickle is cut short inside a frame") }
    case .stop: break
    case .mark: marks.append(stack.count)
    case .pop:
      // POP also removes a mark when that is what lies on top.
      if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop() }
    case .popMark: _ = try popMark()
    case .duplicate: push(try top())
    case .none: push(.none)
    case .newTrue: push(.bool(true))
    case .newFalse: push(.bool(false))
    case .floatText, .float, .intText, .int32, .uint8, .longText, .uint16, .long1, .long4:
      push(try number(opcode))
    case .stringText, .string, .shortString, .unicodeText, .unicode, .shortUnicode, .unicode8, .bytes,
      .shortBytes,
      .bytes8, .byteArray8:
      push(try text(opcode))
    case .getText, .get1, .get4, .putText, .put1, .put4, .memoize: try useMemo(opcode)
    case .global, .stackGlobal, .reduce, .newObject, .newObjectWithKeywords, .build, .persistentID:
      try object(opcode)
    default: try container(opcode)
    }
  }

  private mutating func container(_ opcode: PickleOpcode) throws {
    switch opcode {
    case .emptyDictionary: try newDictionary([])
    case .dictionary: try newDictionary(try popMark())
    case .setItem: try setItems(try pop(2))
    case .setItems: try setItems(try popMark())
    case .emptyList: push(.list(newNode([])))
    case .list: push(.list(newNode(try popMark())))
    case .append: try append(try pop(1))
    case .appends, .addItems: try append(try popMark())
    case .emptyTuple: push(.tuple(newNode([])))
    case .tuple: push(.tuple(newNode(try popMark())))
    case .tuple1: push(.tuple(newNode(try pop(1))))
    case .tuple2: push(.tuple(newNode(try pop(2))))
    case .tuple3: push(.tuple(newNode(try pop(3))))
    case .emptySet: push(.set(newNode([])))
    case .frozenSet: push(.set(newNode(try popMark())))
    default: throw failure("the pickle has a refused opcode (\(opcode.rawValue))")
    }
  }

  private mutating func number(_ opcode: PickleOpcode) throws -> PickleValue {
    switch opcode {
    case .int32: return .integer(Int(try reader.integer(Int32.self)))
    case .uint8: return .integer(Int(try reader.byte()))
    case .uint16: return .integer(Int(try reader.integer(UInt16.self)))
    case .float: return .float(Double(bitPattern: try reader.integer(UInt64.self).byteSwapped))
    case .long1: return Self.integer(try reader.take(Int(try reader.byte())))
    case .long4: return Self.integer(try reader.take(Int(try reader.integer(Int32.self))))
    case .floatText:
      let line = String(decoding: try reader.line(), as: UTF8.self)
      guard let value = Double(line) else { throw failure("the pickle has a number that is none") }
      return .float(value)
    default:
      let line = try reader.line()
      if line.elementsEqual("00".utf8) { return .bool(false) }
      if line.elementsEqual("01".utf8) { return .bool(true) }
      let digits = String(decoding: line.last == UInt8(ascii: "L") ? line.dropLast() : line, as: UTF8.self)
      // Python's integers have no bound; here one beyond 64 bits can't matter.
      guard let value = Int(digits) else {
        throw failure("the pickle has an integer that is none or too large")
      }
      return .integer(value)
    }
  }

  /// Two's complement, little-endian, of any length.
  private static func integer(_ bytes: ArraySlice<UInt8>) -> PickleValue {
    guard bytes.count <= 8 else { return .bigInteger(Array(bytes)) }
    let isNegative = bytes.last.map { $0 >= 0x80 } ?? false
    return .integer(bytes.reversed().reduce(isNegative ? -1 : 0) { $0 << 8 | Int($1) })
  }

  private mutating func text(_ opcode: PickleOpcode) throws -> PickleValue {
    switch opcode {
    case .unicode: return try utf8(Int(try reader.integer(UInt32.self)))
    case .shortUnicode: return try utf8(Int(try reader.byte()))
    case .unicode8: return try utf8(try reader.length64())
    case .bytes: return .bytes(Array(try reader.take(Int(try reader.integer(UInt32.self)))))
    case .shortBytes: return .bytes(Array(try reader.take(Int(try reader.byte()))))
    case .bytes8, .byteArray8: return .bytes(Array(try reader.take(try reader.length64())))
    case .string: return try oldString(try reader.take(Int(try reader.integer(Int32.self))))
    case .shortString: return try oldString(try reader.take(Int(try reader.byte())))
    case .stringText: return try oldString(try reader.line().dropFirst().dropLast())
    default: return .string(try safe(String(decoding: try reader.line(), as: UTF8.self)))
    }
  }

  private func safe(_ string: String) throws -> String {
    guard string.isStreamSafe else {
      throw failure("the pickle has a string with more than 30 marks in a row")
    }
    return string
  }

  private mutating func utf8(_ count: Int) throws -> PickleValue {
    guard let string = String(validating: try reader.take(count), as: UTF8.self) else {
      throw failure("the pickle has a string that is not UTF-8")
    }
    return .string(try safe(string))
  }

  /// Python 2 wrote its `str`, text or bytes, by the same opcodes.
  private func oldString(_ bytes: ArraySlice<UInt8>) throws -> PickleValue {
    guard let string = String(validating: bytes, as: UTF8.self) else { return .bytes(Array(bytes)) }
    return .string(try safe(string))
  }

  private mutating func useMemo(_ opcode: PickleOpcode) throws {
    switch opcode {
    case .memoize: memo[memo.count] = try top()
    case .put1: memo[Int(try reader.byte())] = try top()
    case .put4: memo[Int(try reader.integer(UInt32.self))] = try top()
    case .putText: memo[try memoIndex()] = try top()
    default:
      let index =
        switch opcode {
        case .get1: Int(try reader.byte())
        case .get4: Int(try reader.integer(UInt32.self))
        default: try memoIndex()
        }
      guard let value = memo[index] else {
        throw failure("the pickle refers to a value (\(index)) it never kept")
      }
      push(value)
    }
  }

  private mutating func memoIndex() throws -> Int {
    guard let index = Int(String(decoding: try reader.line(), as: UTF8.self)), index >= 0 else {
      throw failure("the pickle has a reference that is no number")
    }
    return index
  }
}
