import Kernels
import Parity
import Synchronization

/// A backend that lets the reference compute, rounded to single precision: the smallest one there is. With a fault it
/// shows that the runner notices.
final class InterpretingBackend: Backend {
  enum Fault: CaseIterable {
    case none, wrongElement, notANumber, changesInput, writesBeside, differsFromRunToRun, failsToCompile
  }

  let fault: Fault
  let device = DeviceDescription(
    identifier: "reference", name: "reference", platform: "", driver: "", version: "", computeUnits: 1,
    memoryByteCount: 0, largestAllocation: .max, kernels: "none")
  let alignment = 64
  let largestAllocation = Int.max

  init(fault: Fault = .none) { self.fault = fault }

  func allocate(byteCount: Int) throws -> any Storage { HostStorage(byteCount: byteCount) }

  private func storage(_ tensor: Tensor) throws -> HostStorage {
    guard let storage = tensor.storage as? HostStorage else { throw PBEError(.internal, "foreign storage") }
    return storage
  }

  func writeBytes(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    try storage(tensor).bytes.withLock {
      $0.replaceSubrange(tensor.byteOffset..<tensor.byteOffset + bytes.count, with: bytes)
    }
  }

  func readBytes(of tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    try storage(tensor).bytes.withLock {
      bytes.copyBytes(from: $0[tensor.byteOffset..<tensor.byteOffset + bytes.count])
    }
  }

  func compile(_ programs: [Program]) throws -> [any Executable] {
    if fault == .failsToCompile { throw PBEError(.device, "no such kernel") }
    return programs.map { InterpretedProgram($0, self) }
  }

  func synchronize() throws {}

  func load(_ tensor: Tensor) throws -> ReferenceTensor {
    switch tensor.type {
    case .float32: ReferenceTensor(tensor.shape, try read(tensor, as: Float.self).map { Double($0) })
    case .int32: ReferenceTensor(tensor.shape, try read(tensor, as: Int32.self).map { Double($0) })
    case .uint8: ReferenceTensor(tensor.shape, try read(tensor, as: UInt8.self).map { Double($0) })
    }
  }

  func store(_ values: ReferenceTensor, to tensor: Tensor) throws {
    switch tensor.type {
    case .float32: try write(values.values.map { Float($0) }, to: tensor)
    case .int32: try write(values.values.map { Int32($0) }, to: tensor)
    case .uint8: try write(values.values.map { UInt8($0) }, to: tensor)
    }
  }
}

final class HostStorage: Storage {
  let byteCount: Int
  let bytes: Mutex<[UInt8]>

  init(byteCount: Int) {
    self.byteCount = byteCount
    bytes = Mutex([UInt8](repeating: 0, count: byteCount))
  }
}

private final class InterpretedProgram: Executable {
  let arenaByteCount = 0
  private let program: Program
  private let backend: InterpretingBackend
  private var runs = 0

  init(_ program: Program, _ backend: InterpretingBackend) {
    self.program = program
    self.backend = backend
  }

  func profile(_ parameters: RunParameters) throws -> [KernelTiming] {
    try run(parameters)
    return []
  }

  func run(_ parameters: RunParameters) throws {
    runs += 1
    var machine = ReferenceMachine()
    let tensors = program.values.compactMap(\.tensor)
    for tensor in tensors { machine.tensors[ObjectIdentifier(tensor)] = try backend.load(tensor) }
    machine.run(program, parameters)
    let written = program.operations.flatMap { $0.descriptor.writes }.compactMap { program[$0].tensor }
    for tensor in tensors {
      let isWritten = written.contains { $0 === tensor }
      guard var contents = machine.tensors[ObjectIdentifier(tensor)], tensor.type == .float32 || isWritten
      else {
        continue
      }
      switch backend.fault {
      case .wrongElement where isWritten: contents[0] += 1
      case .notANumber where isWritten: contents[0] = tensor.type == .float32 ? .nan : 1_000_000
      case .changesInput where !isWritten: contents[0] += 1
      case .differsFromRunToRun where isWritten && tensor.type == .float32:
        contents[0] *= 1 + 1e-6 * Double(runs)
      default: break
      }
      try backend.store(contents, to: tensor)
      if backend.fault == .writesBeside, isWritten, let storage = tensor.storage as? HostStorage {
        storage.bytes.withLock { $0[tensor.byteOffset + tensor.byteCount] = 0 }
      }
    }
  }
}
