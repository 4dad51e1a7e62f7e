/// A list of operators over values: what a backend compiles into an ``Executable``.
///
/// Values are either bound to a ``Tensor`` that outlives the program's runs or temporary; the temporaries of all
/// programs that are compiled together share one arena, so their contents do not survive from one run to the next.
public struct Program: Sendable {
  /// The description of a value.
  public struct Specification: Sendable {
    /// The logical shape.
    public let shape: Shape
    /// The type of the elements.
    public let type: ElementType
    /// What it holds.
    public let role: TensorRole
    /// The tensor it stands for; `nil` for a temporary.
    public let tensor: Tensor?

    /// The size in bytes.
    public var byteCount: Int { shape.count * type.byteCount }
  }

  /// Every value, in the order of creation.
  public private(set) var values: [Specification] = []
  /// The operators, in the order of execution.
  public private(set) var operations: [Operation] = []
  private var bound: [ObjectIdentifier: Value] = [:]

  /// Creates an empty program.
  public init() {}

  /// A new temporary.
  public mutating func temporary(
    _ shape: Shape, type: ElementType = .float32, role: TensorRole = .image
  ) -> Value {
    values.append(Specification(shape: shape, type: type, role: role, tensor: nil))
    return Value(index: values.count - 1)
  }

  /// The value that stands for `tensor`; the same one each time.
  public mutating func bind(_ tensor: Tensor) -> Value {
    if let value = bound[ObjectIdentifier(tensor)] { return value }
    values.append(
      Specification(shape: tensor.shape, type: tensor.type, role: tensor.role, tensor: tensor))
    let value = Value(index: values.count - 1)
    bound[ObjectIdentifier(tensor)] = value
    return value
  }

  /// Appends an operator.
  public mutating func append(_ operation: Operation) { operations.append(operation) }

  /// The same values, other operators.
  func replacing(_ operations: [Operation]) -> Program {
    var program = self
    program.operations = operations
    return program
  }

  /// Throws `internal` for a value without elements, which no kernel computes: such as a convolution's output whose input is
  /// smaller than the kernel.
  func check() throws {
    guard let empty = values.first(where: { $0.shape.count < 1 }) else { return }
    throw PBEError(.internal, "a tensor of shape \(empty.shape) has no elements")
  }

  /// The description of a value.
  public subscript(value: Value) -> Specification { values[value.index] }
}
