import COpenCL

/// A context with its queues, which live as long as any of its memory does.
final class OpenCLContext: @unchecked Sendable {
  // One thread at a time uses a backend (see ``Backend``); the second queue is the only mutable state.
  let handle: OpenCLHandle
  /// The in-order queue for all work.
  let queue: OpenCLHandle
  private let device: OpenCLDevice
  private var profiling: OpenCLHandle?

  /// A new context of one device. Throws `device` when the driver fails.
  init(_ device: OpenCLDevice) throws {
    self.device = device
    var status: cl_int = 0
    var id: cl_device_id? = device.id
    var properties: [cl_context_properties] = [
      cl_context_properties(CL_CONTEXT_PLATFORM), cl_context_properties(bitPattern: device.platform), 0,
    ]
    handle = try OpenCLError.own(
      clCreateContext(&properties, 1, &id, nil, nil, &status), status, "clCreateContext"
    ) { clReleaseContext($0) }
    queue = try Self.queue(handle, device, properties: 0)
  }

  /// A queue that keeps times, created when it is first asked for: such queues are slower on some drivers.
  func profilingQueue() throws -> OpenCLHandle {
    if let profiling { return profiling }
    let queue = try Self.queue(handle, device, properties: pbe_CL_QUEUE_PROFILING_ENABLE)
    profiling = queue
    return queue
  }

  private static func queue(
    _ context: OpenCLHandle, _ device: OpenCLDevice, properties: cl_command_queue_properties
  ) throws -> OpenCLHandle {
    var status: cl_int = 0
    return try OpenCLError.own(
      clCreateCommandQueue(context.pointer, device.id, properties, &status), status, "clCreateCommandQueue"
    ) { clReleaseCommandQueue($0) }
  }
}
