import COpenCL

/// A buffer of an OpenCL device, or a part of one.
final class OpenCLStorage: Storage {
  let byteCount: Int
  /// The `cl_mem`.
  let handle: OpenCLHandle
  /// The context that it belongs to: a kernel can use no other's buffers.
  let context: OpenCLHandle
  private let whole: OpenCLStorage?

  /// Allocates `byteCount` bytes of unspecified contents.
  init(byteCount: Int, context: OpenCLHandle) throws {
    var status: cl_int = 0
    let memory = clCreateBuffer(context.pointer, pbe_CL_MEM_READ_WRITE, byteCount, nil, &status)
    handle = try OpenCLError.own(memory, status, "clCreateBuffer(\(byteCount) bytes)") {
      clReleaseMemObject($0)
    }
    self.byteCount = byteCount
    self.context = context
    whole = nil
  }

  private init(_ whole: OpenCLStorage, byteOffset: Int, byteCount: Int) throws {
    var region = cl_buffer_region(origin: byteOffset, size: byteCount)
    var status: cl_int = 0
    let memory = clCreateSubBuffer(
      whole.handle.pointer, pbe_CL_MEM_READ_WRITE, pbe_CL_BUFFER_CREATE_TYPE_REGION, &region, &status)
    handle = try OpenCLError.own(memory, status, "clCreateSubBuffer") { clReleaseMemObject($0) }
    self.byteCount = byteCount
    context = whole.context
    self.whole = whole
  }

  /// The part of `byteCount` bytes from `byteOffset` on; a part that begins with the whole is the whole.
  func part(byteOffset: Int, byteCount: Int) throws -> OpenCLStorage {
    guard byteOffset >= 0, byteCount >= 0, byteOffset <= self.byteCount - byteCount else {
      throw PBEError(
        .internal,
        "bytes \(byteOffset)..<\(byteOffset + byteCount) of a buffer of \(self.byteCount) were asked for")
    }
    return byteOffset == 0
      ? self : try OpenCLStorage(self, byteOffset: byteOffset, byteCount: max(1, byteCount))
  }
}
