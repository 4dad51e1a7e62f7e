import Foundation

/// Host memory as a device's: zero-filled, aligned for vectors, on large pages where the system has them.
final class CPUStorage: Storage, @unchecked Sendable {
  let byteCount: Int
  let base: UnsafeMutableRawPointer

  /// Throws `device` when there is not enough memory.
  init(byteCount: Int) throws {
    self.byteCount = byteCount
    // Large pages: a transform that touches 36 places at a time otherwise spends its time on page-table walks.
    let large = byteCount >= 1 << 21
    let alignment = large ? 1 << 21 : 4096
    let size = (byteCount + alignment - 1) / alignment * alignment
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, alignment, size) == 0, let memory else {
      throw PBEError(
        .device, "there is not enough memory for \(byteCount / 1_048_576) MiB", at: "cpu",
        remedy: "use a smaller --batch or --width")
    }
    #if os(Linux)
      if large { madvise(memory, size, 14 /* MADV_HUGEPAGE */) }
    #endif
    memset(memory, 0, size)
    base = memory
  }

  deinit { free(base) }
}

extension Tensor {
  /// The tensor's memory, when it lies on the CPU.
  func cpuPointer() throws -> UnsafeMutableRawPointer {
    guard let storage = storage as? CPUStorage, byteOffset >= 0, byteOffset % 64 == 0,
      byteOffset + byteCount <= storage.byteCount
    else {
      throw PBEError(
        .internal, "a tensor was given to the CPU that is of another device, or doesn't fit its memory")
    }
    return storage.base + byteOffset
  }
}
