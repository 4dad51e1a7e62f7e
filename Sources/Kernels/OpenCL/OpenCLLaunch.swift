import COpenCL
import Foundation

/// One kernel with its arguments and its work-items.
struct OpenCLLaunch {
  /// The kernel's name.
  let name: String
  /// The build options of its program.
  let variant: String
  /// The operator that it belongs to.
  let operation: Int
  private let kernel: OpenCLHandle
  /// The work-items in parts: some drivers limit the groups of a dimension.
  private let parts: [Part]
  private let local: [Int]
  private let runArguments: [(index: cl_uint, field: LaunchPlan.RunField)]

  /// The most work-items that a work-group can have: of one kernel, and in each dimension on the device.
  struct MostItems {
    var group: Int
    var dimensions: [Int]

    /// Whether a work-group is not too large.
    func allow(_ local: [Int]) -> Bool {
      local.reduce(1, *) <= group && zip(local, dimensions).allSatisfy { $0 <= $1 }
    }

    /// The largest work-group in `local` that is not.
    func shrinking(_ local: [Int]) -> [Int] {
      var local = local
      for (index, most) in zip(local.indices, dimensions) {
        while local[index] > most { local[index] /= 2 }
      }
      while local.reduce(1, *) > group, let widest = local.indices.last(where: { local[$0] > 1 }) {
        local[widest] /= 2
      }
      return local
    }
  }

  /// Binds the arguments of `plan`.
  init(
    _ plan: LaunchPlan, kernel: OpenCLHandle, most: MostItems,
    buffer: (LaunchPlan.Argument) throws -> OpenCLPart?
  ) throws {
    self.kernel = kernel
    name = plan.kernel
    variant = plan.variant
    operation = plan.operation
    guard !plan.isFixed || most.allow(plan.local) else {
      throw PBEError(
        .device,
        "work-groups of \(plan.local.reduce(1, *)) are too large for \(plan.kernel): at most \(most.group)",
        remedy:
          "tune the device, or set PBE_GPU_KERNELS to registers or, for the smallest work-groups, to cpu")
    }
    let local = most.shrinking(plan.local)
    self.local = local
    let global = zip(plan.global, local).map { ($0 + $1 - 1) / $1 * $1 }
    // A fixed plan's kernel counts its groups from zero, and has few in the dimensions after the first.
    parts = plan.isFixed ? [Part(offset: global.map { _ in 0 }, size: global)] : Part.split(global, by: local)
    var runArguments: [(index: cl_uint, field: LaunchPlan.RunField)] = []
    var offsets: [UInt64] = []
    for (index, argument) in plan.arguments.enumerated() {
      let index = cl_uint(index)
      switch argument {
      case .value, .scratch, .none:
        let part = try buffer(argument)
        try Self.set(kernel, index, part?.storage.handle.pointer, plan.kernel)
        offsets.append(UInt64(part?.byteOffset ?? 0))
      case .int(let value): try Self.set(kernel, index, value, plan.kernel)
      case .uint(let value): try Self.set(kernel, index, value, plan.kernel)
      case .float(let value): try Self.set(kernel, index, value, plan.kernel)
      case .seed(let seed):
        let words = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        try Self.set(kernel, index, words, plan.kernel)
      case .divisor(let divisor): try Self.set(kernel, index, Self.reciprocal(of: divisor), plan.kernel)
      case .run(let field): runArguments.append((index, field))
      }
    }
    for (index, offset) in offsets.enumerated() {
      try Self.set(kernel, cl_uint(plan.arguments.count + index), offset, plan.kernel)
    }
    self.runArguments = runArguments
  }

  /// Whether every run does the same, so that it can be recorded.
  var isConstant: Bool { runArguments.isEmpty }

  /// Sets the arguments that this run brings, and enqueues the kernel; `keep`, if given, gets its events to release.
  func enqueue(
    _ parameters: RunParameters, on queue: OpenCLHandle, keep: ((cl_event) -> Void)? = nil
  ) throws {
    for (index, field) in runArguments {
      switch field {
      case .rowOffset: try Self.set(kernel, index, parameters.rowOffset, name)
      case .epoch: try Self.set(kernel, index, parameters.epoch, name)
      case .step: try Self.set(kernel, index, parameters.step, name)
      case .learningRate: try Self.set(kernel, index, parameters.learningRate, name)
      case .adamRate(let beta):
        let rate = Double(parameters.learningRate) / (1 - pow(Double(beta), Double(parameters.step)))
        try Self.set(kernel, index, Float(rate), name)
      case .adamCorrection(let beta):
        try Self.set(
          kernel, index, Float((1 - pow(Double(beta), Double(parameters.step))).squareRoot()), name)
      }
    }
    for part in parts {
      var event: cl_event?
      let status =
        keep == nil
        ? clEnqueueNDRangeKernel(
          queue.pointer, kernel.pointer, cl_uint(local.count), part.offset, part.size, local, 0, nil, nil)
        : clEnqueueNDRangeKernel(
          queue.pointer, kernel.pointer, cl_uint(local.count), part.offset, part.size, local, 0, nil, &event)
      if let event { keep?(event) }
      if status != CL_SUCCESS { throw OpenCLError.failure(status, "clEnqueueNDRangeKernel(\(name))") }
    }
  }

  /// Appends the kernel to a command buffer, whose one queue must not be named.
  func record(_ functions: pbe_command_buffer_functions, _ buffer: pbe_command_buffer) throws {
    for part in parts {
      let status = functions.kernel(
        buffer, nil, nil, kernel.pointer, cl_uint(local.count), part.offset, part.size, local, 0, nil, nil,
        nil)
      try OpenCLError.check(status, "clCommandNDRangeKernelKHR(\(name))")
    }
  }

  /// A range of work-items.
  struct Part: Equatable {
    var offset: [Int], size: [Int]

    /// NVIDIA's hardware takes so many groups in each dimension but the first.
    static let mostGroups = 65_535

    /// Splits work-items so that no dimension but the first has more than `most` groups.
    static func split(_ global: [Int], by local: [Int], most: Int = mostGroups) -> [Part] {
      var parts = [Part(offset: global.map { _ in 0 }, size: global)]
      for dimension in global.indices.dropFirst() {
        let step = most * local[dimension]
        parts = parts.flatMap { part in
          stride(from: 0, to: part.size[dimension], by: step).map { first in
            var piece = part
            piece.offset[dimension] = first
            piece.size[dimension] = min(step, part.size[dimension] - first)
            return piece
          }
        }
      }
      return parts
    }
  }

  /// What multiplies instead of dividing by `divisor`, for numerators below 2^31: `(ceil(2^(31 + l) / d), l - 1)` with
  /// `l = ceil(log2 d)` (Granlund and Montgomery, PLDI 1994); zeros stand for 1.
  static func reciprocal(of divisor: Int) -> SIMD2<UInt32> {
    guard divisor > 1, divisor <= Int(Int32.max) else { return SIMD2() }
    let log = UInt64(Int.bitWidth - (divisor - 1).leadingZeroBitCount)
    let d = UInt64(divisor)
    return SIMD2(UInt32(truncatingIfNeeded: ((1 << (31 + log)) + d - 1) / d), UInt32(log - 1))
  }

  private static func set<T: BitwiseCopyable>(
    _ kernel: OpenCLHandle, _ index: cl_uint, _ value: T, _ name: String
  ) throws {
    let status = withUnsafeBytes(of: value) {
      clSetKernelArg(kernel.pointer, index, $0.count, $0.baseAddress)
    }
    if status != CL_SUCCESS { throw OpenCLError.failure(status, "clSetKernelArg(\(name), \(index))") }
  }
}
