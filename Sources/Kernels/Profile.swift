/// What one kernel of one operator took.
public struct KernelTiming: Sendable {
  /// The operator's position in ``Program/operations``.
  public var operation: Int
  /// The kernel's name: an operator can be several kernels.
  public var kernel: String
  /// The build options that made this variant of it, on devices that compile kernels.
  public var variant = ""
  /// Seconds on the device.
  public var seconds: Double
}

/// What an operator has to do, however it is done.
public struct OperationCost: Sendable, Equatable {
  /// Additions and multiplications of the definition (a fast algorithm needs fewer).
  public var flops: Double
  /// Bytes of its operands, each once.
  public var bytes: Double

  /// Creates a cost.
  public init(flops: Double, bytes: Double) {
    self.flops = flops
    self.bytes = bytes
  }
}

extension Program {
  /// The work of one operator: two FLOPs per multiply-add of a product, one per element of anything else.
  public func cost(of operation: Operation) -> OperationCost {
    let descriptor = operation.descriptor
    let bytes = Set(descriptor.reads + descriptor.writes).reduce(0) { $0 + self[$1].byteCount }
    let flops: Int =
      switch operation {
      case .convolution(let d): 2 * products(d.filter, pixels: d.output)
      case .convolutionInputGradient(let d): 2 * products(d.filter, pixels: d.outputGradient)
      case .convolutionFilterGradient(let d): 2 * products(d.filterGradient, pixels: d.outputGradient)
      case .matrixProduct(let d):
        2 * self[d.output].shape.count * (d.transposeA ? self[d.a].shape.n : self[d.a].shape.c)
      default: descriptor.writes.map { self[$0].shape.count }.max() ?? 0
      }
    return OperationCost(flops: Double(flops), bytes: Double(bytes))
  }

  private func products(_ filter: Value, pixels: Value) -> Int {
    self[filter].shape.count * self[pixels].shape.pixels
  }

  /// An operator's name and the shapes that decide its cost, such as `convolution 3x3 128x64x32x32`.
  public func label(of operation: Operation) -> String {
    let name = operation.name
    switch operation {
    case .convolution(let d):
      return "\(name) \(words(d.geometry)) \(self[d.input].shape) -> \(self[d.output].shape.c)"
    case .convolutionInputGradient(let d):
      return
        "\(name) \(words(d.geometry)) \(self[d.outputGradient].shape) -> \(self[d.inputGradient].shape.c)"
    case .convolutionFilterGradient(let d):
      return "\(name) \(words(d.geometry)) \(self[d.input].shape) -> \(self[d.outputGradient].shape.c)"
    default:
      let largest = operation.descriptor.writes.max { self[$0].byteCount < self[$1].byteCount }
      return largest.map { "\(name) \(self[$0].shape)" } ?? name
    }
  }

  private func words(_ g: ConvolutionGeometry) -> String {
    "\(g.kernelHeight)x\(g.kernelWidth)" + (g.stride > 1 ? "/\(g.stride)" : "")
      + (g.groups > 1 ? " in \(g.groups) groups" : "")
  }
}

extension Operation {
  /// The case's name.
  public var name: String {
    String(describing: self).split(separator: "(", maxSplits: 1).first.map(String.init) ?? ""
  }
}

extension Duration {
  /// The duration in seconds.
  public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
