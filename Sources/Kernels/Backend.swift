/// A compute device and the kernels for it: the narrow waist. Above it nobody asks which device it is; below it
/// nobody knows what a network is.
///
/// Not for concurrent use: one thread runs a backend's programs. Work is done in the order of the calls; `run` may
/// return before it is done, `read` and `synchronize` wait.
public protocol Backend: AnyObject, Sendable {
  /// What the device is and can do.
  var device: DeviceDescription { get }
  /// Every tensor's offset in its storage is a multiple of this many bytes.
  var alignment: Int { get }
  /// The largest single allocation in bytes.
  var largestAllocation: Int { get }

  /// New device memory, all zero.
  func allocate(byteCount: Int) throws -> any Storage
  /// Copies bytes, in the device's layout, to a tensor.
  func writeBytes(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws
  /// Waits for all work, then copies a tensor's bytes, in the device's layout.
  func readBytes(of tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws
  /// Compiles programs that share one arena: every kernel chosen, every argument bound, every buffer placed.
  func compile(_ programs: [Program]) throws -> [any Executable]
  /// Waits until all work is done.
  func synchronize() throws
}

/// A compiled ``Program``. Running it allocates nothing and decides nothing.
public protocol Executable: AnyObject {
  /// Does every operator, in order.
  func run(_ parameters: RunParameters) throws
  /// Does the same, and returns what each kernel took, in order; slower than ``run(_:)``.
  func profile(_ parameters: RunParameters) throws -> [KernelTiming]
  /// Bytes of device memory for temporaries, shared with the programs compiled together with this one.
  var arenaByteCount: Int { get }
}

/// What a device is: for people to choose by, and for a run's record.
public struct DeviceDescription: Sendable, Equatable {
  /// How `--device` names it: `cpu`, `opencl:0`.
  public var identifier: String
  /// Whether its driver calls it a GPU. Other accelerators may be emulated on the processor: they are used when named.
  public var isGPU: Bool
  /// The vendor's name of the device.
  public var name: String
  /// The platform (OpenCL) or library (CPU) behind it.
  public var platform: String
  /// The driver's version.
  public var driver: String
  /// The version of OpenCL, or of the library.
  public var version: String
  /// Compute units, or threads.
  public var computeUnits: Int
  /// Bytes of global memory.
  public var memoryByteCount: Int
  /// The largest single allocation in bytes.
  public var largestAllocation: Int
  /// The backend's choices of kernels, in words.
  public var kernels: String
  /// Why the device can't be used; `nil` when it can.
  public var unusable: String?
  /// The device's UUID in hexadecimal digits, and its place on the PCI bus, `0000:3b:00.0`, where the driver tells.
  public var uuid: String?, pci: String?
  /// What an opened device's products round their inputs to.
  public var precision = Precision.fp32
  /// What an opened OpenCL device computes with; `nil` for the CPU, which has no choice.
  public var choices: KernelChoices?

  /// Creates a description.
  public init(
    identifier: String, isGPU: Bool = false, name: String, platform: String, driver: String,
    version: String, computeUnits: Int, memoryByteCount: Int, largestAllocation: Int, kernels: String,
    unusable: String? = nil
  ) {
    self.identifier = identifier
    self.isGPU = isGPU
    self.name = name
    self.platform = platform
    self.driver = driver
    self.version = version
    self.computeUnits = computeUnits
    self.memoryByteCount = memoryByteCount
    self.largestAllocation = largestAllocation
    self.kernels = kernels
    self.unusable = unusable
  }
}

extension Backend {
  /// New tensors, all zero, each in memory of its own.
  public func makeTensor(
    _ shape: Shape, type: ElementType = .float32, role: TensorRole = .plain
  ) throws -> Tensor {
    Tensor(
      shape: shape, type: type, role: role,
      storage: try allocate(byteCount: max(1, shape.count * type.byteCount)))
  }

  /// A new tensor with the given logical (NCHW, OIHW) elements.
  public func makeTensor<Element: DeviceElement>(
    _ values: [Element], shape: Shape, role: TensorRole = .plain
  ) throws -> Tensor {
    let tensor = try makeTensor(shape, type: Element.elementType, role: role)
    try write(values, to: tensor)
    return tensor
  }

  /// Writes logical (NCHW, OIHW) elements to a tensor. Throws `internal` when count or type don't fit.
  public func write<Element: DeviceElement>(_ values: [Element], to tensor: Tensor) throws {
    guard values.count == tensor.shape.count, Element.elementType == tensor.type else {
      throw PBEError(
        .internal,
        "\(values.count) \(Element.elementType) elements don't fit a \(tensor.type) \(tensor.shape)")
    }
    let ordered = Layout.toDevice(values, shape: tensor.shape, role: tensor.role)
    try ordered.withUnsafeBytes { try writeBytes($0, to: tensor) }
  }

  /// Reads a tensor's elements in logical (NCHW, OIHW) order. Throws `internal` when the type doesn't fit.
  public func read<Element: DeviceElement>(_ tensor: Tensor, as type: Element.Type = Float.self) throws
    -> [Element]
  {
    guard Element.elementType == tensor.type else {
      throw PBEError(.internal, "a \(tensor.type) tensor was read as \(Element.elementType)")
    }
    var ordered = [Element](repeating: .zero, count: tensor.shape.count)
    try ordered.withUnsafeMutableBytes { try readBytes(of: tensor, into: $0) }
    return Layout.toHost(ordered, shape: tensor.shape, role: tensor.role)
  }
}

/// The host's types of device elements.
public protocol DeviceElement: BitwiseCopyable, Sendable, Numeric {
  /// The device's name of the type.
  static var elementType: ElementType { get }
}

extension Float: DeviceElement {
  public static var elementType: ElementType { .float32 }
}

extension Int32: DeviceElement {
  public static var elementType: ElementType { .int32 }
}

extension UInt8: DeviceElement {
  public static var elementType: ElementType { .uint8 }
}
