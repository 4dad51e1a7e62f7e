import Kernels

/// Reads Python pickles (protocols 0 to 5) as data: builds values from an allow-list and never runs anything.
///
/// Opcodes: Python's `pickletools` module. Time and memory are linear in the pickle's size, whatever it says:
/// every element that is stored is charged to a budget, and lengths are checked against the bytes that are
/// there.
struct Unpickler {
  /// The most operations and moved elements; a checkpoint of a thousand tensors takes about 20 000.
  static let workLimit = 4_000_000
  /// The most dimensions a tensor may have, as in PyTorch.
  static let rankLimit = 64

  let place: String
  var reader: ByteReader
  var stack: [PickleValue] = []
  /// The stack's height at each mark that is still open.
  var marks: [Int] = []
  var memo: [Int: PickleValue] = [:]
  var nodes: [[PickleValue]] = []
  var tensors: [PickleTensor] = []
  var storages: [String: PickleStorage] = [:]
  var work = 0

  /// Reads one pickle from the beginning of `range`; throws `PBEError(.badData)`.
  static func read(_ bytes: [UInt8], in range: Range<Int>, place: String) throws -> Pickle {
    var unpickler = Unpickler(place: place, reader: ByteReader(bytes, in: range, place: place))
    let root = try unpickler.run()
    return Pickle(
      root: root, nodes: unpickler.nodes, tensors: unpickler.tensors, storages: unpickler.storages,
      end: unpickler.reader.position)
  }

  private init(place: String, reader: ByteReader) {
    self.place = place
    self.reader = reader
  }

  private mutating func run() throws -> PickleValue {
    while true {
      let code = try reader.byte()
      try charge(1)
      if code == PickleOpcode.stop.rawValue { return try pop() }
      guard let opcode = PickleOpcode(rawValue: code) else {
        throw failure(
          "the pickle has an unknown or refused opcode (\(code)) at offset \(reader.position - 1)")
      }
      try execute(opcode)
    }
  }

  func failure(_ what: String) -> PBEError {
    PBEError(
      .badData, what, at: place,
      remedy: "the checkpoint is damaged or was not written by torch.save; copy or download it again")
  }

  mutating func charge(_ amount: Int) throws {
    work += amount
    guard work <= Self.workLimit else {
      throw failure("the pickle takes more than \(Self.workLimit) steps to read, which no model needs")
    }
  }

  // MARK: - The stack

  mutating func push(_ value: PickleValue) { stack.append(value) }

  mutating func pop() throws -> PickleValue {
    // Python too refuses to pop what was pushed before the last mark.
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
      throw failure("the pickle takes a value from an empty stack at offset \(reader.position)")
    }
    return value
  }

  func top() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.last else {
      throw failure("the pickle uses a value of an empty stack at offset \(reader.position)")
    }
    return value
  }

  /// The values after the last mark, which are removed with it.
  mutating func popMark() throws -> [PickleValue] {
    guard let mark = marks.popLast() else {
      throw failure("the pickle closes a group that it did not open at offset \(reader.position)")
    }
    let values = Array(stack[mark...])
    stack.removeSubrange(mark...)
    try charge(values.count)
    return values
  }

  mutating func pop(_ count: Int) throws -> [PickleValue] {
    var values: [PickleValue] = []
    for _ in 0..<count { values.append(try pop()) }
    return values.reversed()
  }

  mutating func newNode(_ items: [PickleValue]) -> Int {
    nodes.append(items)
    return nodes.count - 1
  }

  // MARK: - Containers

  mutating func append(_ values: [PickleValue]) throws {
    switch try top() {
    case .list(let node), .set(let node): nodes[node].append(contentsOf: values)
    case .opaque: break
    case let other: throw failure("the pickle appends elements to \(other.kind)")
    }
  }

  mutating func setItems(_ pairs: [PickleValue]) throws {
    guard pairs.count % 2 == 0 else { throw failure("the pickle has a key without a value") }
    switch try top() {
    case .dictionary(let node): nodes[node].append(contentsOf: pairs)
    case .opaque: break
    case let other: throw failure("the pickle sets entries of \(other.kind)")
    }
  }

  mutating func newDictionary(_ pairs: [PickleValue]) throws {
    guard pairs.count % 2 == 0 else { throw failure("the pickle has a key without a value") }
    push(.dictionary(newNode(pairs)))
  }

  /// Takes attributes for the object on top: those of dictionaries (`_metadata`) and of opaque values are
  /// dropped.
  mutating func build() throws {
    _ = try pop()
    switch try top() {
    case .dictionary, .opaque, .tensor: break
    case let other: throw failure("the pickle sets attributes of \(other.kind)")
    }
  }
}
