import COpenCL

/// The names of OpenCL's status codes, and their way into ``PBEError``.
enum OpenCLError {
  /// Throws `device` when `status` is a failure of `call`.
  static func check(_ status: cl_int, _ call: String) throws {
    if status != CL_SUCCESS { throw failure(status, call) }
  }

  /// Takes ownership of a new object, or throws `device` when there is none.
  static func own(
    _ pointer: OpaquePointer?, _ status: cl_int, _ call: String,
    release: @escaping @Sendable (OpaquePointer?) -> cl_int
  ) throws -> OpenCLHandle {
    try check(status, call)
    guard let pointer else { throw PBEError(.device, "\(call) returned nothing") }
    return OpenCLHandle(pointer, release: release)
  }

  /// The error of a failed call.
  static func failure(_ status: cl_int, _ call: String) -> PBEError {
    let remedy: String? =
      switch status {
      case -4, -5, -6, -61: "the device's memory may be full: use a smaller batch, or another device"
      case -1001: "install an OpenCL loader and a driver, or use `--device cpu`"
      default: nil
      }
    return PBEError(.device, "\(call) failed: \(name(status)) (\(status))", remedy: remedy)
  }

  /// The name of a status code, without which a number says little.
  static func name(_ status: cl_int) -> String { names[status] ?? "unknown error" }

  private static let names: [cl_int: String] = [
    0: "CL_SUCCESS", -1: "CL_DEVICE_NOT_FOUND", -2: "CL_DEVICE_NOT_AVAILABLE",
    -3: "CL_COMPILER_NOT_AVAILABLE",
    -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE", -5: "CL_OUT_OF_RESOURCES", -6: "CL_OUT_OF_HOST_MEMORY",
    -7: "CL_PROFILING_INFO_NOT_AVAILABLE", -8: "CL_MEM_COPY_OVERLAP", -9: "CL_IMAGE_FORMAT_MISMATCH",
    -10: "CL_IMAGE_FORMAT_NOT_SUPPORTED", -11: "CL_BUILD_PROGRAM_FAILURE", -12: "CL_MAP_FAILURE",
    -13: "CL_MISALIGNED_SUB_BUFFER_OFFSET", -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
    -15: "CL_COMPILE_PROGRAM_FAILURE", -16: "CL_LINKER_NOT_AVAILABLE", -17: "CL_LINK_PROGRAM_FAILURE",
    -18: "CL_DEVICE_PARTITION_FAILED", -19: "CL_KERNEL_ARG_INFO_NOT_AVAILABLE", -30: "CL_INVALID_VALUE",
    -31: "CL_INVALID_DEVICE_TYPE", -32: "CL_INVALID_PLATFORM", -33: "CL_INVALID_DEVICE",
    -34: "CL_INVALID_CONTEXT",
    -35: "CL_INVALID_QUEUE_PROPERTIES", -36: "CL_INVALID_COMMAND_QUEUE", -37: "CL_INVALID_HOST_PTR",
    -38: "CL_INVALID_MEM_OBJECT", -39: "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR", -40: "CL_INVALID_IMAGE_SIZE",
    -41: "CL_INVALID_SAMPLER", -42: "CL_INVALID_BINARY", -43: "CL_INVALID_BUILD_OPTIONS",
    -44: "CL_INVALID_PROGRAM", -45: "CL_INVALID_PROGRAM_EXECUTABLE", -46: "CL_INVALID_KERNEL_NAME",
    -47: "CL_INVALID_KERNEL_DEFINITION", -48: "CL_INVALID_KERNEL", -49: "CL_INVALID_ARG_INDEX",
    -50: "CL_INVALID_ARG_VALUE", -51: "CL_INVALID_ARG_SIZE", -52: "CL_INVALID_KERNEL_ARGS",
    -53: "CL_INVALID_WORK_DIMENSION", -54: "CL_INVALID_WORK_GROUP_SIZE", -55: "CL_INVALID_WORK_ITEM_SIZE",
    -56: "CL_INVALID_GLOBAL_OFFSET", -57: "CL_INVALID_EVENT_WAIT_LIST", -58: "CL_INVALID_EVENT",
    -59: "CL_INVALID_OPERATION", -60: "CL_INVALID_GL_OBJECT", -61: "CL_INVALID_BUFFER_SIZE",
    -62: "CL_INVALID_MIP_LEVEL", -63: "CL_INVALID_GLOBAL_WORK_SIZE", -64: "CL_INVALID_PROPERTY",
    -65: "CL_INVALID_IMAGE_DESCRIPTOR", -66: "CL_INVALID_COMPILER_OPTIONS", -67: "CL_INVALID_LINKER_OPTIONS",
    -68: "CL_INVALID_DEVICE_PARTITION_COUNT", -1001: "CL_PLATFORM_NOT_FOUND_KHR",
  ]
}

/// Owns one reference to an OpenCL object, and gives it back when nobody holds it any more.
final class OpenCLHandle: @unchecked Sendable {
  /// The object. Only ever handed to OpenCL, whose functions may be called from any thread but for
  /// `clSetKernelArg`, which the one thread that runs a backend calls.
  let pointer: OpaquePointer
  private let release: @Sendable (OpaquePointer?) -> cl_int

  init(_ pointer: OpaquePointer, release: @escaping @Sendable (OpaquePointer?) -> cl_int) {
    self.pointer = pointer
    self.release = release
  }

  deinit { _ = release(pointer) }
}
