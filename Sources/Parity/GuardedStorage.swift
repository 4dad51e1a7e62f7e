import Kernels

/// Device memory with a tensor in its middle and a known pattern around it, so that writes beside it show.
struct GuardedStorage {
  /// Not-a-number as floats and -1 as integers: reads beside the tensor spoil the results.
  private static let pattern: UInt8 = 0xFF

  let storage: any Storage
  let tensorOffset: Int
  private let tensorByteCount: Int
  private let whole: Tensor

  /// Allocates memory for `byteCount` bytes and the guards around them.
  init(_ backend: any Backend, byteCount: Int) throws {
    let alignment = max(backend.alignment, 64)
    let total = (byteCount + alignment - 1) / alignment * alignment + 2 * alignment
    storage = try backend.allocate(byteCount: total)
    tensorOffset = alignment
    tensorByteCount = byteCount
    whole = Tensor(shape: .vector(total), type: .uint8, storage: storage)
  }

  /// Restores the pattern, around the tensor and in it.
  func fill(_ backend: any Backend) throws {
    try backend.write([UInt8](repeating: Self.pattern, count: whole.shape.count), to: whole)
  }

  /// How many bytes beside the tensor have changed.
  func changedBytes(_ backend: any Backend) throws -> Int {
    let bytes = try backend.read(whole, as: UInt8.self)
    return bytes.indices.count {
      !(tensorOffset..<tensorOffset + tensorByteCount).contains($0) && bytes[$0] != Self.pattern
    }
  }
}
