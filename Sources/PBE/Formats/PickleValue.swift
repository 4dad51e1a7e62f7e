/// A value on the unpickler's stack.
///
/// Containers are indices into the unpickler's flat list of nodes, not references to each other: a pickle may
/// nest containers a million deep or make one its own element, and neither may cost stack or leak.
enum PickleValue {
  case none
  case bool(Bool)
  case integer(Int)
  /// An integer beyond 64 bits: two's complement, little-endian.
  case bigInteger([UInt8])
  case float(Double)
  case string(String)
  case bytes([UInt8])
  /// A node whose items are the elements.
  case list(Int)
  case tuple(Int)
  case set(Int)
  /// A node whose items are keys and values in turn.
  case dictionary(Int)
  case global(PickleGlobal)
  /// Boxed, since it is rare and five times the size of the rest.
  indirect case storage(PickleStorage)
  /// An index into the unpickler's tensors.
  case tensor(Int)
  /// A value that is known to be harmless and of no use here (a device, a numpy scalar), by its Python name.
  case opaque(String)

  /// The kind in Python's words, for messages.
  var kind: String {
    switch self {
    case .none: "None"
    case .bool: "a bool"
    case .integer, .bigInteger: "an int"
    case .float: "a float"
    case .string: "a str"
    case .bytes: "bytes"
    case .list: "a list"
    case .tuple: "a tuple"
    case .set: "a set"
    case .dictionary: "a dict"
    case .global(let global): "the name \(global.name)"
    case .storage: "a storage"
    case .tensor: "a tensor"
    case .opaque(let name): "a \(name)"
    }
  }
}

/// The elements of one storage, which tensors are views of.
struct PickleStorage: Equatable {
  var key: String
  /// Nil for a type this program has no use for (complex, quantised).
  var type: HostTensor.ElementType?
  var typeName: String
  /// Elements in the storage as the file holds it.
  var count: Int
  /// The part of it that this value is: all of it but in files of PyTorch before 0.4.
  var view: Range<Int>
}

/// A tensor as the pickle describes it; nothing about it is checked yet but that the numbers are integers.
struct PickleTensor {
  var storage: PickleStorage
  var offset: Int
  var shape: [Int]
  var strides: [Int]
}

/// What a pickle leaves: the value and what it refers to.
struct Pickle {
  let root: PickleValue
  let nodes: [[PickleValue]]
  let tensors: [PickleTensor]
  /// Every storage that was named, by key.
  let storages: [String: PickleStorage]
  /// The index of the first byte after the pickle.
  let end: Int

  /// The elements of a list or tuple, or nil.
  func elements(_ value: PickleValue) -> [PickleValue]? {
    switch value {
    case .list(let node), .tuple(let node): nodes[node]
    default: nil
    }
  }

  /// The entries of a dictionary, or nil.
  func entries(_ value: PickleValue) -> [(key: PickleValue, value: PickleValue)]? {
    guard case .dictionary(let node) = value else { return nil }
    let items = nodes[node]
    return stride(from: 0, to: items.count - 1, by: 2).map { (items[$0], items[$0 + 1]) }
  }

  /// The last value under a string key of a dictionary, which is the one Python would keep.
  func member(_ name: String, of value: PickleValue) -> PickleValue? {
    entries(value)?.last {
      if case .string(name) = $0.key { true } else { false }
    }?.value
  }
}
