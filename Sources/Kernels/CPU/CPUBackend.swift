import COpenBLAS
import Foundation

/// The CPU: OpenBLAS for matrix products, vectorised C for convolutions and the rest, all cores.
public final class CPUBackend: Backend {
  public let device = CPUBackend.description
  public let alignment = 64
  public let largestAllocation = Int.max

  /// OpenBLAS must not start threads of its own: the blocks of an operator are already dealt out to all cores.
  private static let oneThreadPerProduct: Void = openblas_set_num_threads(1)

  /// Opens the CPU; it always works.
  public init() throws { Self.oneThreadPerProduct }

  /// Why products don't round their inputs here.
  static let precisionProblem = "the CPU computes in fp32 only"

  /// What the CPU is.
  public static var description: DeviceDescription {
    let memory = Int(ProcessInfo.processInfo.physicalMemory)
    let library = openblas_get_config().map { String(cString: $0) } ?? "OpenBLAS"
    let words = library.split(separator: " ")
    return DeviceDescription(
      identifier: "cpu", name: processorName, platform: words.prefix(2).joined(separator: " "),
      driver: String(cString: openblas_get_corename()),
      version: words.dropFirst().first.map(String.init) ?? "",
      computeUnits: Parallel.threads, memoryByteCount: memory, largestAllocation: memory,
      kernels: "3x3 stride-1 convolutions: Winograd F(4x4,3x3); others: direct, in registers")
  }

  private static var processorName: String {
    if let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
      let name = line.split(separator: ":", maxSplits: 1).last
    {
      return name.trimmingCharacters(in: .whitespaces)
    }
    return "CPU"
  }

  public func allocate(byteCount: Int) throws -> any Storage { try CPUStorage(byteCount: byteCount) }

  public func writeBytes(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    let to = try pointer(to: tensor, transferring: bytes.count)
    if let from = bytes.baseAddress { to.copyMemory(from: from, byteCount: bytes.count) }
  }

  public func readBytes(of tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    let from = try pointer(to: tensor, transferring: bytes.count)
    bytes.baseAddress?.copyMemory(from: from, byteCount: bytes.count)
  }

  private func pointer(to tensor: Tensor, transferring count: Int) throws -> UnsafeMutableRawPointer {
    guard count == tensor.byteCount else {
      throw PBEError(.internal, "\(count) bytes were to be copied of a tensor of \(tensor.byteCount)")
    }
    return try tensor.cpuPointer()
  }

  public func synchronize() {}

  public func compile(_ programs: [Program]) throws -> [any Executable] {
    for program in programs { try program.check() }
    let fused = programs.map(CPUFusion.fuse)
    let plans = fused.map { MemoryPlan($0.program, alignment: alignment, chunkLimit: .max) }
    let arenaSize = plans.map { $0.chunks.reduce(0, +) }.max() ?? 0
    let arena = try CPUStorage(byteCount: max(alignment, arenaSize))
    let scratch = try CPUScratch()
    var executables: [CPUExecutable] = []
    for ((program, origins), plan) in zip(fused, plans) {
      let compiler = try CPUCompiler(program: program, plan: plan, arena: arena, scratch: scratch)
      executables.append(
        CPUExecutable(
          steps: try program.operations.map(compiler.step(for:)), names: program.operations.map(\.name),
          origins: origins,
          arena: arena, scratch: scratch,
          tensors: program.values.compactMap(\.tensor)))
    }
    try scratch.allocate()
    return executables
  }
}

/// Memory that operators use while they run, shared by all operators of the programs compiled together.
final class CPUScratch {
  private var byteCount = 0
  private var storage: CPUStorage

  /// The scratch memory as floats: all of it only once the programs are compiled.
  private(set) var floats: UnsafeMutablePointer<Float>

  init() throws {
    storage = try CPUStorage(byteCount: 64)
    floats = storage.base.assumingMemoryBound(to: Float.self)
  }

  /// Called while compiling: an operator will need this much.
  func reserve(floats: Int) { byteCount = max(byteCount, floats * 4) }

  /// Called once, after compiling.
  func allocate() throws {
    let storage = try CPUStorage(byteCount: max(64, byteCount))
    self.storage = storage
    floats = storage.base.assumingMemoryBound(to: Float.self)
  }
}

/// A program bound to the CPU's memory: one closure per operator.
final class CPUExecutable: Executable {
  /// One operator, every pointer bound.
  typealias Step = (RunParameters) -> Void

  let arenaByteCount: Int
  private let steps: [Step]
  private let names: [String]
  /// The operator of the program that each step is.
  private let origins: [Int]
  // Held because the steps point into them.
  private let held: (CPUStorage, CPUScratch, [Tensor])

  init(
    steps: [Step], names: [String], origins: [Int], arena: CPUStorage, scratch: CPUScratch, tensors: [Tensor]
  ) {
    self.steps = steps
    self.names = names
    self.origins = origins
    arenaByteCount = arena.byteCount
    held = (arena, scratch, tensors)
  }

  func run(_ parameters: RunParameters) throws {
    for step in steps { step(parameters) }
  }

  func profile(_ parameters: RunParameters) throws -> [KernelTiming] {
    let clock = ContinuousClock()
    return steps.enumerated().map { index, step in
      KernelTiming(
        operation: origins[index], kernel: names[index], seconds: clock.measure { step(parameters) }.seconds)
    }
  }
}
