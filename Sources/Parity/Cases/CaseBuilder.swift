import Kernels

/// Collects the tensors and programs of an ``OperatorCase``, for a backend or, without one, for the reference alone.
public struct CaseBuilder {
  struct Entry {
    let label: String
    let tensor: Tensor
    let initial: ReferenceTensor
    let guarded: GuardedStorage?
  }

  private(set) var entries: [Entry] = []
  private(set) var programs: [Program] = []
  private(set) var steps: [(program: Int, parameters: RunParameters)] = []
  private(set) var expectations: [Int: [Double]] = [:]
  private(set) var failure: (any Error)?
  private let name: String
  private let backend: (any Backend)?
  private var random: CaseRandom
  /// What every floating-point element is rounded to: then products don't have to round it.
  var precision = Precision.fp32

  init(name: String, backend: (any Backend)?) {
    self.name = name
    self.backend = backend
    random = CaseRandom(name: name)
  }

  // MARK: - Tensors

  /// A tensor with the given elements, in logical order.
  public mutating func tensor(
    _ label: String, _ values: [Double], _ shape: Shape, type: ElementType = .float32,
    role: TensorRole = .plain
  ) -> Tensor {
    var guarded: GuardedStorage?
    var tensor = Tensor(shape: shape, type: type, role: role, storage: NoStorage())
    if let backend, failure == nil {
      do {
        let storage = try GuardedStorage(backend, byteCount: tensor.byteCount)
        tensor = Tensor(
          shape: shape, type: type, role: role, storage: storage.storage, byteOffset: storage.tensorOffset)
        guarded = storage
      } catch { failure = error }
    }
    let rounds = type == .float32 && precision != .fp32
    let initial = ReferenceTensor(
      shape, rounds ? values.map { Double(precision.rounded(Float($0))) } : values)
    entries.append(Entry(label: label, tensor: tensor, initial: initial, guarded: guarded))
    return tensor
  }

  /// An image of random numbers with mean zero and deviation one, times `scale`, plus `offset`.
  public mutating func image(
    _ shape: Shape, _ label: String = "x", scale: Double = 1, offset: Double = 0
  ) -> Tensor {
    tensor(label, normal(shape.count, scale: scale, offset: offset), shape, role: .image)
  }

  /// An image of random numbers in [0, 1).
  public mutating func pixels(_ shape: Shape, _ label: String = "x") -> Tensor {
    tensor(label, uniform(shape.count), shape, role: .image)
  }

  /// Convolution weights of the usual size (He).
  public mutating func filter(_ shape: Shape, _ label: String = "filter") -> Tensor {
    let scale = (2 / Double(shape.c * shape.h * shape.w)).squareRoot()
    return tensor(label, normal(shape.count, scale: scale), shape, role: .filter)
  }

  /// A vector of random numbers around `offset`.
  public mutating func vector(
    _ count: Int, _ label: String, scale: Double = 1, offset: Double = 0
  ) -> Tensor {
    tensor(label, normal(count, scale: scale, offset: offset), .vector(count))
  }

  /// A vector of random numbers in [0.5, 1.5).
  public mutating func positiveVector(_ count: Int, _ label: String) -> Tensor {
    tensor(label, uniform(count).map { Double(Float($0 + 0.5)) }, .vector(count))
  }

  /// A matrix of random numbers.
  public mutating func matrix(_ rows: Int, _ columns: Int, _ label: String, scale: Double = 1) -> Tensor {
    tensor(label, normal(rows * columns, scale: scale), Shape(rows, columns))
  }

  /// A vector of integers.
  public mutating func integers(_ values: [Int], _ label: String) -> Tensor {
    tensor(label, values.map(Double.init), .vector(values.count), type: .int32)
  }

  /// A tensor that the program has to write in full: it starts as not-a-number, -1, or 255 in bytes.
  public mutating func output(
    _ shape: Shape, _ label: String = "y", type: ElementType = .float32, role: TensorRole = .image
  ) -> Tensor {
    let empty =
      switch type {
      case .float32: Double.nan
      case .int32: -1.0
      case .uint8: 255.0
      }
    return tensor(label, Array(repeating: empty, count: shape.count), shape, type: type, role: role)
  }

  /// A vector that the program has to write in full.
  public mutating func outputVector(_ count: Int, _ label: String, type: ElementType = .float32) -> Tensor {
    output(.vector(count), label, type: type, role: .plain)
  }

  // MARK: - Random numbers

  /// Random numbers with mean zero and deviation one, times `scale`, plus `offset`; floats hold them exactly.
  public mutating func normal(_ count: Int, scale: Double = 1, offset: Double = 0) -> [Double] {
    (0..<count).map { _ in Double(Float(random.normal() * scale + offset)) }
  }

  /// Random numbers in [0, 1).
  public mutating func uniform(_ count: Int) -> [Double] { (0..<count).map { _ in random.uniform() } }

  /// Random integers in 0..<limit.
  public mutating func draw(_ count: Int, below limit: Int) -> [Int] {
    (0..<count).map { _ in Int(random.uniform() * Double(limit)) }
  }

  // MARK: - Programs

  /// Adds a program, and a run of it.
  public mutating func run(_ parameters: RunParameters = RunParameters(), _ fill: (inout Program) -> Void) {
    var program = Program()
    fill(&program)
    programs.append(program)
    steps.append((programs.count - 1, parameters))
  }

  /// Runs the program added last once more.
  public mutating func again(_ parameters: RunParameters) { steps.append((programs.count - 1, parameters)) }

  /// Holds a tensor's final contents against a golden file instead of the reference.
  public mutating func expect(_ tensor: Tensor, _ values: [Double]) {
    if let position = entries.firstIndex(where: { $0.tensor === tensor }) { expectations[position] = values }
  }

  func isWritten(_ tensor: Tensor) -> Bool {
    programs.contains { program in
      program.operations.contains { $0.descriptor.writes.contains { program[$0].tensor === tensor } }
    }
  }
}

/// The random numbers of a case: a function of its name.
private struct CaseRandom {
  private var stream: PhiloxStream

  init(name: String) {
    // FNV-1a.
    let seed = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    stream = PhiloxStream(seed: seed, purpose: 0)
  }

  mutating func uniform() -> Double { Double(stream.nextUniform()) }

  /// The sum of four uniform numbers, centred and scaled to a deviation of one: near enough, and the same everywhere.
  mutating func normal() -> Double {
    (uniform() + uniform() + uniform() + uniform() - 2) * 3.0.squareRoot()
  }
}

/// The place of a tensor of a program that only the reference runs.
private final class NoStorage: Storage {
  var byteCount: Int { 0 }
}
