import COpenCL
import Foundation

/// An OpenCL 1.2 device: kernels.cl on one in-order queue.
public final class OpenCLBackend: Backend, @unchecked Sendable {
  // One thread at a time uses a backend (see ``Backend``); the compiler is the only mutable state.
  /// What the device is, and how it identifies itself.
  public let device: DeviceDescription
  /// What the widest loads need, and lines of every cache.
  public let alignment = 512
  private let hardware: OpenCLDevice
  private let context: OpenCLContext
  private let compiler: OpenCLCompiler
  private let commandBuffers: OpenCLCommandBuffers?
  /// The choice of kernels.
  let tuning: OpenCLTuning

  /// The driver's limit for one buffer in bytes.
  public var largestAllocation: Int { device.largestAllocation }

  /// Every OpenCL device of this machine, usable or not, in the loader's order.
  public static func devices() -> [DeviceDescription] {
    let store = TuningStore()
    return OpenCLDevice.all.devices.map { device in
      var description = device.description
      // A wrong PBE_GPU_KERNELS is told where the device is opened.
      if let tuning = try? store.stored(for: device) { description.kernels = tuning.words }
      return description
    }
  }

  /// Why there is no OpenCL device; `nil` where there is one.
  public static var missing: String? { OpenCLDevice.all.missing }

  /// Opens the device `opencl:0`, `opencl:1`, ... Throws `device` when there is none such or the driver fails.
  /// What ``Devices/tune(_:thorough:seconds:progress:)`` found for it is used; without that, the untuned choice. With
  /// tf32 or bf16, products round their inputs: throws `device` with the reason where the device can't.
  public convenience init(identifier: String, precision: Precision = .fp32) throws {
    let hardware = try OpenCLDevice.named(identifier)
    try self.init(
      hardware, tuning: TuningStore().stored(for: hardware),
      tensorCores: TensorCores(precision, environment: ProcessInfo.processInfo.environment))
  }

  /// Opens a device; `tuning` replaces the untuned choice, and `cache` keeps what is compiled.
  init(
    _ hardware: OpenCLDevice, tuning: OpenCLTuning?, tensorCores: TensorCores? = nil,
    cache: OpenCLProgramCache = .standard,
    commandBuffers: (OpenCLDevice) -> OpenCLCommandBuffers? = { OpenCLCommandBuffers($0) }
  ) throws {
    self.hardware = hardware
    var chosen = try tuning ?? OpenCLTuning(hardware.limits)
    if let tensorCores { chosen.use(tensorCores) }
    self.tuning = chosen
    var device = hardware.description
    device.kernels = chosen.words
    device.choices = KernelChoices(chosen, of: hardware)
    device.precision = tensorCores?.precision ?? .fp32
    self.device = device
    context = try OpenCLContext(hardware)
    compiler = OpenCLCompiler(context: context, device: hardware, cache: cache)
    self.commandBuffers = commandBuffers(hardware)
    if let tensorCores, let problem = problem(tensorCores) {
      throw PBEError(
        .device, "products in \(tensorCores.precision.rawValue) are not available: \(problem)",
        at: device.identifier,
        remedy: "use --precision fp32, or another device")
    }
  }

  /// Why this device can't compute products on matrix units; `nil` when it can.
  private func problem(_ tensorCores: TensorCores) -> String? {
    probe.problem(tensorCores, hardware.limits)
  }

  /// Finds out what the device's matrix units can do.
  var probe: TensorCoreProbe { TensorCoreProbe(context: context, compiler: compiler) }

  /// Whether the device can compute products in a precision; compiles and runs a little for the answer.
  public func support(for precision: Precision) -> PrecisionSupport {
    let cores = TensorCores(precision, environment: ProcessInfo.processInfo.environment)
    return PrecisionSupport(precision: precision, problem: cores.flatMap(problem))
  }

  // MARK: - Memory

  /// New device memory, all zero. Throws `device` when the device has no such block.
  public func allocate(byteCount: Int) throws -> any Storage { try zeroed(byteCount) }

  /// Copies bytes to a tensor and returns when they are there.
  public func writeBytes(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    let storage = try storage(of: tensor, transferring: bytes.count)
    guard bytes.count > 0 else { return }
    try OpenCLError.check(
      clEnqueueWriteBuffer(
        context.queue.pointer, storage.handle.pointer, pbe_CL_TRUE, tensor.byteOffset, bytes.count,
        bytes.baseAddress, 0, nil, nil),
      "clEnqueueWriteBuffer")
  }

  /// Waits for all work, then copies a tensor's bytes.
  public func readBytes(of tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    let storage = try storage(of: tensor, transferring: bytes.count)
    guard bytes.count > 0 else { return }
    try OpenCLError.check(
      clEnqueueReadBuffer(
        context.queue.pointer, storage.handle.pointer, pbe_CL_TRUE, tensor.byteOffset, bytes.count,
        bytes.baseAddress, 0, nil, nil),
      "clEnqueueReadBuffer")
  }

  /// Waits until all work is done. Throws `device` when some of it failed.
  public func synchronize() throws { try OpenCLError.check(clFinish(context.queue.pointer), "clFinish") }

  private func zeroed(_ byteCount: Int) throws -> OpenCLStorage {
    // Whole vectors of four words: drivers fill them far faster than bytes.
    let padded = byteCount.addingReportingOverflow(15)
    let size = max(16, padded.partialValue / 16 * 16)
    guard byteCount >= 0, !padded.overflow, size <= max(largestAllocation, 16) else {
      throw PBEError(
        .device, "\(byteCount) bytes were asked for, the largest block is \(largestAllocation)",
        at: device.identifier,
        remedy: "use a smaller batch or data set, or another device")
    }
    let storage = try OpenCLStorage(byteCount: size, context: context)
    let zero = SIMD4<UInt32>()
    let status = withUnsafeBytes(of: zero) {
      clEnqueueFillBuffer(
        context.queue.pointer, storage.handle.pointer, $0.baseAddress, $0.count, 0, size, 0, nil, nil)
    }
    try OpenCLError.check(status, "clEnqueueFillBuffer(\(size) bytes)")
    return storage
  }

  private func storage(of tensor: Tensor, transferring count: Int? = nil) throws -> OpenCLStorage {
    guard let storage = tensor.storage as? OpenCLStorage, storage.context === context else {
      throw PBEError(.internal, "a tensor of another device was used", at: device.identifier)
    }
    guard tensor.byteOffset >= 0, tensor.byteOffset % alignment == 0, tensor.byteCount <= storage.byteCount,
      tensor.byteOffset <= storage.byteCount - tensor.byteCount, count == nil || count == tensor.byteCount
    else {
      throw PBEError(
        .internal,
        "a tensor of \(tensor.byteCount) bytes at \(tensor.byteOffset) doesn't fit its memory of \(storage.byteCount)",
        at: device.identifier)
    }
    return storage
  }

  // MARK: - Programs

  /// Chooses the kernels of the programs and binds their arguments; the programs share their temporaries' memory.
  public func compile(_ programs: [Program]) throws -> [any Executable] {
    try compile(programs, tuning: tuning)
  }

  /// The same with another choice of kernels.
  func compile(_ programs: [Program], tuning: OpenCLTuning) throws -> [any Executable] {
    for program in programs { try program.check() }
    let memoryPlans = programs.map { MemoryPlan($0, alignment: alignment, chunkLimit: largestAllocation) }
    let builders = try programs.map { try LaunchBuilder($0, tuning: tuning) }
    let arena = try (0..<(memoryPlans.map(\.chunks.count).max() ?? 0)).map { index in
      try zeroed(memoryPlans.map { index < $0.chunks.count ? $0.chunks[index] : 0 }.max() ?? 0)
    }
    let scratch = try LaunchPlan.Scratch.allCases.map { kind in
      let size = builders.map { $0.scratch[kind.rawValue] }.max() ?? 0
      return size > 0 ? try zeroed(size) : nil
    }
    let arenaByteCount = (arena + scratch.compactMap { $0 }).reduce(0) { $0 + $1.byteCount }

    return try zip(programs, zip(memoryPlans, builders)).map { program, plan in
      let (memoryPlan, builder) = plan
      var buffers = [OpenCLPart?](repeating: nil, count: program.values.count)
      for (index, value) in program.values.enumerated() {
        if let tensor = value.tensor {
          buffers[index] = try storage(of: tensor).part(
            byteOffset: tensor.byteOffset, byteCount: tensor.byteCount)
        } else if let place = memoryPlan.places[index] {
          buffers[index] = try arena[place.chunk].part(byteOffset: place.offset, byteCount: value.byteCount)
        }
      }
      let launches = try builder.plans.map { plan in
        let kernel = try compiler.kernel(plan.kernel, variant: plan.variant)
        return try OpenCLLaunch(plan, kernel: kernel, most: compiler.mostItems(kernel)) { argument in
          switch argument {
          case .value(let value): buffers[value.index]
          case .scratch(let kind): scratch[kind.rawValue].map { OpenCLPart(storage: $0, byteOffset: 0) }
          default: nil
          }
        }
      }
      let kept: [AnyObject] = arena + scratch.compactMap { $0 } + program.values.compactMap(\.tensor)
      return OpenCLExecutable(
        launches, context: context, commandBuffers: commandBuffers, keeping: kept,
        arenaByteCount: arenaByteCount)
    }
  }
}
