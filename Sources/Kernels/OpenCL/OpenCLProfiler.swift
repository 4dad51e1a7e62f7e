import COpenCL

/// Times kernels by the device's own clock, on the context's queue for that.
struct OpenCLProfiler {
  let context: OpenCLContext

  /// Does the launches in order, waits, and returns what each took. No other queue may have work for their memory.
  func run(_ launches: [OpenCLLaunch], _ parameters: RunParameters) throws -> [KernelTiming] {
    let queue = try context.profilingQueue()
    var events: [[cl_event]] = []
    defer {
      // When one can't be enqueued, those before it are still at the memory that another queue may work on next.
      clFinish(queue.pointer)
      for event in events.joined() { clReleaseEvent(event) }
    }
    // Asking for a time would wait for the kernel: all are enqueued first, so that the device stays busy.
    for launch in launches {
      events.append([])
      try launch.enqueue(parameters, on: queue) { events[events.count - 1].append($0) }
    }
    try OpenCLError.check(clFinish(queue.pointer), "clFinish")
    return try zip(launches, events).map { launch, events in
      let nanoseconds = try events.reduce(into: cl_ulong(0)) { sum, event in
        let start = try Self.time(event, pbe_CL_PROFILING_COMMAND_START)
        let end = try Self.time(event, pbe_CL_PROFILING_COMMAND_END)
        sum += end > start ? end - start : 0
      }
      return KernelTiming(
        operation: launch.operation, kernel: launch.name, variant: launch.variant,
        seconds: Double(nanoseconds) * 1e-9)
    }
  }

  /// A moment in nanoseconds of the device's clock.
  private static func time(_ event: cl_event, _ name: cl_profiling_info) throws -> cl_ulong {
    var value: cl_ulong = 0
    let status = clGetEventProfilingInfo(event, name, MemoryLayout<cl_ulong>.size, &value, nil)
    try OpenCLError.check(status, "clGetEventProfilingInfo")
    return value
  }
}
