import Kernels

/// Makes tensors of what a checkpoint's pickle describes and its storages hold.
struct TorchTensorReader {
  private let place: String
  /// How many bytes of tensors may still be made: tensors can share a storage, and a stride of zero repeats
  /// it.
  private var budget: Int

  init(fileSize: Int, place: String) {
    self.place = place
    budget = 1 << 26 + 16 * fileSize
  }

  /// The elements of `tensor` in row-major order; `storage` holds its whole storage.
  mutating func tensor(_ tensor: PickleTensor, named name: String, from storage: ArraySlice<UInt8>) throws
    -> HostTensor
  {
    let shown = "the tensor \(name.printable())"
    func failure(_ what: String) -> PBEError {
      PBEError(.badData, what, at: place, remedy: "the checkpoint is damaged; copy or download it again")
    }
    guard let type = tensor.storage.type else {
      throw PBEError(
        .badData, "\(shown) is of type \(tensor.storage.typeName), which is not supported", at: place,
        remedy: "convert it to a real floating-point or integer type before saving")
    }
    guard let total = HostTensor.byteCount(of: type, shape: tensor.shape),
      tensor.strides.allSatisfy({ $0 >= 0 }), tensor.offset >= 0
    else { throw failure("\(shown) has a shape that no tensor can have") }
    guard total <= budget else {
      throw failure("\(shown) has \(total) bytes, far more than the file can hold")
    }
    let (size, overflow) = tensor.storage.count.multipliedReportingOverflow(by: type.byteCount)
    guard !overflow, storage.count - storage.count % type.byteCount == size else {
      throw failure(
        "the storage \(tensor.storage.key.printable()) of \(shown) has \(storage.count) bytes, and "
          + "\(tensor.storage.count) elements of \(type.byteCount) bytes are expected")
    }
    if total == 0 { return HostTensor(type: type, shape: tensor.shape, bytes: []) }
    guard let last = Self.lastIndex(of: tensor), last < tensor.storage.view.count else {
      throw failure("\(shown) reaches beyond its storage of \(tensor.storage.view.count) elements")
    }
    budget -= total
    // No overflow: the last index is inside the storage, whose size in bytes is an Int.
    let start = storage.startIndex + (tensor.storage.view.lowerBound + tensor.offset) * type.byteCount
    if Self.isContiguous(tensor) {
      return HostTensor(type: type, shape: tensor.shape, bytes: Array(storage[start..<start + total]))
    }
    let bytes = Self.gather(tensor, width: type.byteCount, total: total, from: storage, start: start)
    return HostTensor(type: type, shape: tensor.shape, bytes: bytes)
  }

  /// The index of the last element within the storage's view, or nil when it is beyond `Int`.
  private static func lastIndex(of tensor: PickleTensor) -> Int? {
    var last = tensor.offset
    for (extent, stride) in zip(tensor.shape, tensor.strides) {
      let (span, overflow) = (extent - 1).multipliedReportingOverflow(by: stride)
      let (sum, carry) = last.addingReportingOverflow(span)
      if overflow || carry { return nil }
      last = sum
    }
    return last
  }

  private static func isContiguous(_ tensor: PickleTensor) -> Bool {
    var expected = 1
    for (extent, stride) in zip(tensor.shape, tensor.strides).reversed() where extent != 1 {
      if stride != expected { return false }
      expected *= extent
    }
    return true
  }

  private static func gather(
    _ tensor: PickleTensor, width: Int, total: Int, from storage: ArraySlice<UInt8>, start: Int
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(total)
    var position = [Int](repeating: 0, count: tensor.shape.count)
    var source = start
    while true {
      bytes.append(contentsOf: storage[source..<source + width])
      var axis = tensor.shape.count - 1
      while axis >= 0, position[axis] == tensor.shape[axis] - 1 {
        source -= position[axis] * tensor.strides[axis] * width
        position[axis] = 0
        axis -= 1
      }
      if axis < 0 { return bytes }
      position[axis] += 1
      source += tensor.strides[axis] * width
    }
  }
}
