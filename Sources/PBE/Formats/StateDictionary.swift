/// A model's parameters and buffers by the names PyTorch gives them (`features.0.weight`), in the file's
/// order.
///
/// Two dictionaries are equal when they hold equal tensors under the same names in the same order.
public struct StateDictionary: Sendable, Equatable {
  /// The names, in order.
  public private(set) var names: [String] = []
  private var tensors: [String: HostTensor] = [:]

  /// Creates an empty dictionary.
  public init() {}

  /// The number of tensors.
  public var count: Int { names.count }

  /// Whether there is no tensor.
  public var isEmpty: Bool { names.isEmpty }

  /// The tensor of a name, or nil. A new name goes to the end; setting nil removes the name.
  public subscript(name: String) -> HostTensor? {
    get { tensors[name] }
    set {
      let old = tensors[name]
      tensors[name] = newValue
      if old == nil, newValue != nil { names.append(name) }
      if old != nil, newValue == nil { names.removeAll { $0 == name } }
    }
  }

  /// The names with their tensors, in order.
  public var entries: [(name: String, tensor: HostTensor)] {
    names.compactMap { name in tensors[name].map { (name, $0) } }
  }

  /// The CRC-32 of names and elements, in order, as eight hexadecimal digits.
  public var checksum: String {
    var sum = Checksum()
    for (name, tensor) in entries {
      sum.update(Array("\(name)\0".utf8))
      sum.update(tensor.bytes)
    }
    return sum.hex
  }

  /// The same tensors without `prefix`, when every name has it (`module.`, from `DataParallel`); else itself.
  public func removingCommonPrefix(_ prefix: String) -> StateDictionary {
    guard !isEmpty, names.allSatisfy({ $0.hasPrefix(prefix) && $0.count > prefix.count }) else { return self }
    var result = StateDictionary()
    for (name, tensor) in entries { result[String(name.dropFirst(prefix.count))] = tensor }
    return result
  }
}
