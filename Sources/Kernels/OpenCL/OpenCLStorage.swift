import COpenCL

/// A buffer of an OpenCL device.
final class OpenCLStorage: Storage {
  let byteCount: Int
  /// The `cl_mem`.
  let handle: OpenCLHandle
  /// The context that it belongs to: a kernel can use no other's buffers.
  let context: OpenCLContext

  /// Allocates `byteCount` bytes of unspecified contents.
  init(byteCount: Int, context: OpenCLContext) throws {
    var status: cl_int = 0
    let memory = clCreateBuffer(context.handle.pointer, pbe_CL_MEM_READ_WRITE, byteCount, nil, &status)
    handle = try OpenCLError.own(memory, status, "clCreateBuffer(\(byteCount) bytes)") {
      clReleaseMemObject($0)
    }
    self.byteCount = byteCount
    self.context = context
  }

  /// The part of `byteCount` bytes from `byteOffset` on.
  func part(byteOffset: Int, byteCount: Int) throws -> OpenCLPart {
    guard byteOffset >= 0, byteCount >= 0, byteOffset <= self.byteCount - byteCount else {
      throw PBEError(
        .internal,
        "bytes \(byteOffset)..<\(byteOffset + byteCount) of a buffer of \(self.byteCount) were asked for")
    }
    return OpenCLPart(storage: self, byteOffset: byteOffset)
  }
}

/// Where in a buffer a kernel's data begins (``KernelOffsets``).
struct OpenCLPart {
  let storage: OpenCLStorage
  let byteOffset: Int
}
