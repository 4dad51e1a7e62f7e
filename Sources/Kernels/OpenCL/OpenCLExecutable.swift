import COpenCL

/// A program as kernels with all their arguments bound.
final class OpenCLExecutable: Executable {
  /// Consecutive launches: enqueued one by one, or as one command buffer.
  private struct Stretch {
    let launches: Range<Int>
    var recording: OpenCLRecording?
  }

  private let launches: [OpenCLLaunch]
  private var stretches: [Stretch]
  private let context: OpenCLContext
  /// The buffers and tensors that the kernels use: OpenCL keeps none of them for a kernel's sake.
  private let kept: [AnyObject]
  let arenaByteCount: Int

  /// With `commandBuffers`, runs of launches whose arguments never change are recorded now; where that fails they are
  /// enqueued one by one.
  init(
    _ launches: [OpenCLLaunch], context: OpenCLContext, commandBuffers: OpenCLCommandBuffers?,
    keeping kept: [AnyObject], arenaByteCount: Int
  ) {
    self.launches = launches
    self.context = context
    self.kept = kept
    self.arenaByteCount = arenaByteCount
    stretches = []
    var start = 0
    for index in launches.indices {
      // A stretch ends where the next launch is of the other kind.
      let next = index + 1
      if next < launches.count, launches[next].isConstant == launches[index].isConstant { continue }
      let range = start..<next
      let recording =
        launches[index].isConstant ? commandBuffers?.record(launches[range], on: context.queue) : nil
      stretches.append(Stretch(launches: range, recording: recording))
      start = next
    }
  }

  func run(_ parameters: RunParameters) throws {
    for index in stretches.indices {
      if let recording = stretches[index].recording {
        if recording.enqueue(on: context.queue) { continue }
        // A driver that refused it once would refuse it again.
        stretches[index].recording = nil
      }
      for launch in launches[stretches[index].launches] { try launch.enqueue(parameters, on: context.queue) }
    }
    // So that the device begins while the host goes on.
    try OpenCLError.check(clFlush(context.queue.pointer), "clFlush")
  }

  func profile(_ parameters: RunParameters) throws -> [KernelTiming] {
    try OpenCLError.check(clFinish(context.queue.pointer), "clFinish")
    return try OpenCLProfiler(context: context).run(launches, parameters)
  }

  /// How many of the launches are recorded.
  var recordedCount: Int {
    stretches.reduce(0) { $0 + ($1.recording == nil ? 0 : $1.launches.count) }
  }
}
