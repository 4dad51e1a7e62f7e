import Kernels

/// A tensor in double precision on the host, in logical order (NCHW, OIHW): what the reference computes with.
public struct ReferenceTensor: Sendable, Equatable {
  /// The logical shape.
  public let shape: Shape
  /// The elements, row-major.
  public var values: [Double]

  /// Creates a tensor with all elements equal to `value`.
  public init(_ shape: Shape, filledWith value: Double = 0) {
    self.shape = shape
    values = Array(repeating: value, count: shape.count)
  }

  /// Creates a tensor with the given elements.
  public init(_ shape: Shape, _ values: [Double]) {
    precondition(values.count == shape.count)
    self.shape = shape
    self.values = values
  }

  /// Creates a vector.
  public init(_ values: [Double]) { self.init(.vector(values.count), values) }

  /// The element of sample n, channel c, row h and column w.
  public subscript(n: Int, c: Int, h: Int, w: Int) -> Double {
    get { values[((n * shape.c + c) * shape.h + h) * shape.w + w] }
    set { values[((n * shape.c + c) * shape.h + h) * shape.w + w] = newValue }
  }

  /// Element i of a vector, or of any tensor in row-major order.
  public subscript(i: Int) -> Double {
    get { values[i] }
    set { values[i] = newValue }
  }

  /// The channel of element i.
  func channel(_ i: Int) -> Int { i / (shape.h * shape.w) % shape.c }

  /// The sample of element i.
  func sample(_ i: Int) -> Int { i / (shape.c * shape.h * shape.w) }

  /// A tensor of the same shape, each element computed from its position and value.
  func mapped(_ transform: (Int, Double) -> Double) -> ReferenceTensor {
    var result = self
    for i in values.indices { result.values[i] = transform(i, values[i]) }
    return result
  }

  /// The elementwise sum; `self` when `other` is `nil`.
  func plus(_ other: ReferenceTensor?) -> ReferenceTensor {
    guard let other else { return self }
    return mapped { $1 + other.values[$0] }
  }
}

/// The plain double-precision reference of every operator, written from the operators' documentation for clarity
/// rather than speed. One function per operator, in the files of this folder.
public enum Reference {}
