import Kernels

// Names, calls and persistent identifiers: the part of the pickle language that can run code in Python.
extension Unpickler {
  /// Does what one of the opcodes for objects says.
  mutating func object(_ opcode: PickleOpcode) throws {
    switch opcode {
    case .global:
      let module = String(decoding: try reader.line(), as: UTF8.self)
      let name = String(decoding: try reader.line(), as: UTF8.self)
      push(.global(try global(module, name)))
    case .stackGlobal:
      let values = try pop(2)
      guard case .string(let module) = values[0], case .string(let name) = values[1] else {
        throw failure("the pickle names a function by \(values[0].kind) and \(values[1].kind)")
      }
      push(.global(try global(module, name)))
    case .reduce:
      let values = try pop(2)
      push(try call(values[0], values[1]))
    case .newObject:
      let values = try pop(2)
      if case .global(let global) = values[0], case .dictionary = global.meaning, case .tuple = values[1] {
        // A dictionary that is made without being initialised is empty, whatever it is given.
        push(.dictionary(newNode([])))
      } else {
        push(try call(values[0], values[1]))
      }
    case .newObjectWithKeywords:
      let values = try pop(3)
      guard case .global(let global) = values[0], case .opaque = global.meaning else {
        throw failure("the pickle makes an object of \(values[0].kind) with keywords")
      }
      push(.opaque(global.name))
    case .build: try build()
    default: push(.storage(try storage(try pop())))
    }
  }

  private func global(_ module: String, _ name: String) throws -> PickleGlobal {
    if module.utf8.count + name.utf8.count <= 256, let global = PickleGlobal.named(module, name) {
      return global
    }
    throw PickleGlobal.refusal(module, name, isInstance: beginsInstance(), place: place)
  }

  /// Whether the name just read is a class whose instance is made next, as when a whole network was pickled:
  /// either an empty tuple and NEWOBJ follow, or (PyTorch before 1.6) it stands in ('module', class,
  /// source, ...).
  private func beginsInstance() -> Bool {
    if let mark = marks.last, mark == stack.count - 1, case .string("module") = stack[mark] { return true }
    var ahead = reader
    func next() -> PickleOpcode? { (try? ahead.byte()).flatMap(PickleOpcode.init(rawValue:)) }
    func nextAfterMemo() -> PickleOpcode? {
      let opcode = next()
      switch opcode {
      case .put1: _ = try? ahead.range(1)
      case .put4: _ = try? ahead.range(4)
      case .memoize: break
      default: return opcode
      }
      return next()
    }
    return nextAfterMemo() == .emptyTuple && nextAfterMemo() == .newObject
  }

  // MARK: - Calls

  private mutating func call(_ callee: PickleValue, _ arguments: PickleValue) throws -> PickleValue {
    guard case .global(let global) = callee, case .tuple(let node) = arguments else {
      throw failure("the pickle calls \(callee.kind) with \(arguments.kind)")
    }
    switch global.meaning {
    case .opaque: return .opaque(global.name)
    case .dictionary:
      // The first argument of a `defaultdict` makes what is missing.
      let arguments = nodes[node].dropFirst(global.name == "collections.defaultdict" ? 1 : 0)
      return .dictionary(newNode(try pairs(arguments, isCounter: global.name == "collections.Counter")))
    case .storage: throw failure("the pickle calls the class \(global.name)")
    case .size:
      guard nodes[node].count == 1, case .tuple(let extents) = nodes[node][0] else {
        throw failure("the pickle calls torch.Size without a tuple")
      }
      return .tuple(extents)
    case .rebuildParameter:
      guard case .tensor(let index)? = nodes[node].first else {
        throw failure("the pickle makes a parameter of something that is no tensor")
      }
      return .tensor(index)
    case .rebuildTensor: return try tensor(nodes[node])
    }
  }

  /// The initial entries of a dictionary: none, those of another one (`Counter`), or pairs (Python 2). Throws for anything
  /// else: what Python would find in there must not be missing here.
  private mutating func pairs(_ arguments: ArraySlice<PickleValue>, isCounter: Bool) throws -> [PickleValue] {
    guard let argument = arguments.first else { return [] }
    guard arguments.count == 1 else {
      throw failure("the pickle makes a dictionary of \(arguments.count) things")
    }
    let list: Int
    switch argument {
    case .dictionary(let node):
      try charge(nodes[node].count)
      return nodes[node]
    // A `Counter` would count the pairs.
    case .list(let node) where !isCounter, .tuple(let node) where !isCounter: list = node
    default: throw failure("the pickle makes a dictionary of \(argument.kind)")
    }
    var items: [PickleValue] = []
    // The same list can be given many times, and each time costs.
    try charge(nodes[list].count)
    for element in nodes[list] {
      switch element {
      case .list(let pair), .tuple(let pair):
        guard nodes[pair].count == 2 else { throw failure("the pickle makes a dictionary of something else") }
        items += nodes[pair]
      default: throw failure("the pickle makes a dictionary of something else than pairs")
      }
    }
    return items
  }

  /// Arguments: storage, offset, size, strides, and then what only training needs.
  private mutating func tensor(_ arguments: [PickleValue]) throws -> PickleValue {
    guard arguments.count >= 4, case .storage(let storage) = arguments[0],
      case .integer(let offset) = arguments[1]
    else { throw failure("the pickle describes a tensor by something else than a storage and an offset") }
    let tensor = PickleTensor(
      storage: storage, offset: offset, shape: try extents(arguments[2]), strides: try extents(arguments[3]))
    guard tensor.shape.count == tensor.strides.count else {
      throw failure(
        "the pickle has a tensor of \(tensor.shape.count) extents and \(tensor.strides.count) strides")
    }
    try charge(tensor.shape.count)
    tensors.append(tensor)
    return .tensor(tensors.count - 1)
  }

  private func extents(_ value: PickleValue) throws -> [Int] {
    let items: [PickleValue]
    switch value {
    case .tuple(let node), .list(let node): items = nodes[node]
    default: throw failure("the pickle has \(value.kind) for a tensor's shape")
    }
    guard items.count <= Self.rankLimit else {
      throw failure(
        "the pickle has a tensor of \(items.count) dimensions, and at most \(Self.rankLimit) make sense")
    }
    return try items.map {
      guard case .integer(let extent) = $0 else {
        throw failure("the pickle has \($0.kind) in a tensor's shape")
      }
      return extent
    }
  }

  // MARK: - Storages

  /// `('storage', class, key, location, elements)`, and before PyTorch 1.6 a view `(key, offset, elements)`
  /// or None.
  private mutating func storage(_ identifier: PickleValue) throws -> PickleStorage {
    guard case .tuple(let node) = identifier, nodes[node].count >= 5, case .string("storage") = nodes[node][0]
    else {
      throw failure("the pickle refers to something outside it that is no storage (\(identifier.kind))")
    }
    let fields = nodes[node]
    guard case .global(let global) = fields[1], case .storage(let type) = global.meaning,
      case .integer(let count) = fields[4], count >= 0
    else { throw failure("the pickle describes a storage by something else than a class and a size") }
    let key: String
    switch fields[2] {
    case .string(let text): key = text
    case .integer(let number): key = String(number)
    default: throw failure("the pickle has a storage without a name")
    }
    // It is hashed for each tensor; PyTorch's are numbers.
    guard key.utf8.count <= 256 else { throw failure("the pickle has a storage of a very long name") }
    var storage = PickleStorage(key: key, type: type, typeName: global.name, count: count, view: 0..<count)
    if let known = storages[key], known != storage {
      throw failure("the pickle describes the storage \(key.printable()) in two ways")
    }
    storages[key] = storage
    if fields.count > 5, case .tuple(let view) = fields[5] {
      guard nodes[view].count == 3, case .integer(let offset) = nodes[view][1],
        case .integer(let length) = nodes[view][2], offset >= 0, offset <= count, length >= 0,
        length <= count - offset
      else { throw failure("the pickle has a part of the storage \(key.printable()) that is not inside it") }
      storage.view = offset..<offset + length
    }
    return storage
  }
}
