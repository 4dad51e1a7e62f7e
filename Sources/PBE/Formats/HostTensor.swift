/// A tensor on the host, as files hold it: a type, a shape of any rank, and little-endian bytes in
/// row-major order.
public struct HostTensor: Sendable, Equatable {
  /// The element types that models are stored in; the raw value is safetensors' name.
  public enum ElementType: String, Sendable, CaseIterable {
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

  /// The number of elements.
  public var count: Int { bytes.count / type.byteCount }

  /// Creates a tensor from stored bytes; their number must match type and shape.
  ///
  /// Readers of files check with ``byteCount(of:shape:)`` first: only a defect of this program ends here.
  public init(type: ElementType, shape: [Int], bytes: [UInt8]) {
    precondition(bytes.count == Self.byteCount(of: type, shape: shape), "bytes must match type and shape")
    self.type = type
    self.shape = shape
    self.bytes = bytes
  }

  /// Creates a float32 tensor; the number of values must be the product of the extents.
  public init(_ values: [Float], shape: [Int]) {
    let bytes = values.map(\.bitPattern.littleEndian).withUnsafeBytes { Array($0) }
    self.init(type: .float32, shape: shape, bytes: bytes)
  }

  /// The bytes that a tensor of this type and shape takes, or nil for a negative extent or a number beyond
  /// `Int`.
  public static func byteCount(of type: ElementType, shape: [Int]) -> Int? {
    if shape.contains(where: { $0 < 0 }) { return nil }
    var total = type.byteCount
    // Zeros are left out, so that no order of multiplying the extents can overflow elsewhere.
    for extent in shape where extent != 0 {
      let (product, overflow) = total.multipliedReportingOverflow(by: extent)
      if overflow { return nil }
      total = product
    }
    return shape.contains(0) ? 0 : total
  }

  /// The elements as float32, row-major: wider types are rounded to nearest, bools are 0 and 1.
  public func floats() -> [Float] {
    switch type {
    case .float32: elements(UInt32.self) { Float(bitPattern: $0) }
    case .float64: elements(UInt64.self) { Float(Double(bitPattern: $0)) }
    case .float16: elements(UInt16.self, Self.float(half:))
    case .bfloat16: elements(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .int64: elements(Int64.self) { Float($0) }
    case .int32: elements(Int32.self) { Float($0) }
    case .int16: elements(Int16.self) { Float($0) }
    case .int8: elements(Int8.self) { Float($0) }
    case .uint8: elements(UInt8.self) { Float($0) }
    case .bool: elements(UInt8.self) { $0 == 0 ? 0 : 1 }
    }
  }

  private func elements<Stored: FixedWidthInteger & BitwiseCopyable>(
    _: Stored.Type, _ convert: (Stored) -> Float
  ) -> [Float] {
    let count = self.count
    return bytes.withUnsafeBytes { raw in
      [Float](unsafeUninitializedCapacity: count) { result, filled in
        for index in 0..<count {
          let offset = index * MemoryLayout<Stored>.size
          let stored = raw.loadUnaligned(fromByteOffset: offset, as: Stored.self)
          result.initializeElement(at: index, to: convert(Stored(littleEndian: stored)))
        }
        filled = count
      }
    }
  }

  /// IEEE 754 binary16 by its bits: Swift's own `Float16` does not exist on every platform.
  private static func float(half bits: UInt16) -> Float {
    let sign = UInt32(bits >> 15) << 31
    let exponent = UInt32(bits >> 10) & 0x1f
    let fraction = UInt32(bits) & 0x3ff
    switch exponent {
    case 0:
      // Subnormal: fraction * 2^-24, exact in float32.
      let magnitude = Float(fraction) * 0x1p-24
      return Float(bitPattern: sign | magnitude.bitPattern)
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | (fraction << 13))
    default: return Float(bitPattern: sign | ((exponent + 112) << 23) | (fraction << 13))
    }
  }
}
