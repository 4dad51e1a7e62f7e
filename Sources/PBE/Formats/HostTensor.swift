/// A tensor on the host, as files hold it: a type, a shape of any rank, and little-endian bytes in row-major order.
public struct HostTensor: Sendable, Equatable {
  /// The element types that models are stored in; the raw value is safetensors' name.
  public enum ElementType: String, Sendable {
    case float64 = "F64", float32 = "F32", float16 = "F16", bfloat16 = "BF16"
    case int64 = "I64", int32 = "I32", int16 = "I16", int8 = "I8", uint8 = "U8", bool = "BOOL"

    /// Bytes per element.
    public var byteCount: Int {
      switch self {
      case .float64, .int64: 8
      case .float32, .int32: 4
      case .float16, .bfloat16, .int16: 2
      case .int8, .uint8, .bool: 1
      }
    }
  }

  /// The type of the elements.
  public let type: ElementType
  /// The extents; empty for a scalar.
  public let shape: [Int]
  /// The elements, row-major, little-endian.
  public let bytes: [UInt8]

  /// Creates a tensor from stored bytes; their number must match type and shape.
  public init(type: ElementType, shape: [Int], bytes: [UInt8]) {
    precondition(bytes.count == shape.reduce(1, *) * type.byteCount)
    self.type = type
    self.shape = shape
    self.bytes = bytes
  }
}
