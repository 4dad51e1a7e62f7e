import Kernels

/// A network's parameters on a device. Everything that is trained lies in one block, so that one operator updates it.
public final class Weights: Sendable {
  /// The network they belong to.
  public let graph: Graph
  /// The device.
  public let backend: any Backend
  /// The trained parameters as one vector, with gaps of zeros for alignment.
  public let trained: Tensor
  private let tensors: [String: Tensor]

  /// New weights, all zero. Throws `device` when there is not enough memory.
  public init(_ graph: Graph, on backend: any Backend) throws {
    self.graph = graph
    self.backend = backend
    let blocks = try Self.allocate(graph.parameters.filter(\.isTrained), on: backend)
    trained = blocks.whole
    tensors = try blocks.tensors.merging(
      Self.allocate(graph.parameters.filter { !$0.isTrained }, on: backend).tensors
    ) { $1 }
  }

  /// A tensor for each specification, all in one storage.
  private static func allocate(
    _ specifications: [ParameterSpecification], on backend: any Backend
  ) throws -> (whole: Tensor, tensors: [String: Tensor]) {
    let step = backend.alignment
    var offsets: [Int] = []
    var size = 0
    for specification in specifications {
      offsets.append(size)
      size += (specification.shape.count * 4 + step - 1) / step * step
    }
    let storage = try backend.allocate(byteCount: max(step, size))
    var tensors: [String: Tensor] = [:]
    for (specification, offset) in zip(specifications, offsets) {
      tensors[specification.name] = Tensor(
        shape: specification.shape, role: specification.role, storage: storage, byteOffset: offset)
    }
    return (Tensor(shape: .vector(max(step, size) / 4), storage: storage), tensors)
  }

  /// The tensor of a `state_dict` entry. Throws `internal` when the network has none of that name.
  public func tensor(_ name: String) throws -> Tensor {
    guard let tensor = tensors[name] else {
      throw PBEError(.internal, "the network has no parameter \(name)")
    }
    return tensor
  }

  /// Zeroed tensors laid out as the trained parameters: gradients, or an optimizer's state.
  public func likeTrained() throws -> (whole: Tensor, tensors: [String: Tensor]) {
    try Self.allocate(graph.parameters.filter(\.isTrained), on: backend)
  }

  /// PyTorch's default initial values: uniform in +-1/sqrt(fan-in); batch norm starts as the identity.
  public func initialise(seed: UInt64) throws {
    try initialise(seed: seed, purpose: RandomPurpose.initialWeights)
  }

  /// Networks that are trained together draw their values for purposes of their own.
  func initialise(seed: UInt64, purpose: UInt32) throws {
    for (index, specification) in graph.parameters.enumerated() {
      try backend.write(
        Self.initialValues(specification, index: index, seed: seed, purpose: purpose),
        to: tensor(specification.name))
    }
  }

  private static func initialValues(
    _ specification: ParameterSpecification, index: Int, seed: UInt64, purpose: UInt32
  ) -> [Float] {
    let count = specification.shape.count
    switch specification.kind {
    case .weight, .bias:
      let bound = 1 / Float(specification.fanIn).squareRoot()
      var stream = PhiloxStream(seed: seed, purpose: purpose, epoch: UInt32(index))
      return (0..<count).map { _ in bound * (2 * stream.nextUniform() - 1) }
    case .gamma, .runningVariance: return Array(repeating: 1, count: count)
    case .beta, .runningMean: return Array(repeating: 0, count: count)
    }
  }

  /// Shrink and perturb (Ash and Adams, "On warm-starting neural network training", 2020): of each convolution's and linear
  /// layer's weights the share `keeping` stays, and initial values of the same length, drawn by `seed`, take the place of the
  /// rest. Nothing else changes; batch norm's statistics are out of date until the network is trained again.
  public func shrink(keeping: Float, seed: UInt64) throws {
    func length(_ values: [Float]) -> Float {
      Float(values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
    }
    for (index, specification) in graph.parameters.enumerated() where specification.kind == .weight {
      let tensor = try tensor(specification.name)
      let own: [Float] = try backend.read(tensor)
      let fresh = Self.initialValues(
        specification, index: index, seed: seed, purpose: RandomPurpose.perturbation)
      let scale = (1 - keeping) * length(own) / max(length(fresh), .leastNormalMagnitude)
      try backend.write(zip(own, fresh).map { keeping * $0 + scale * $1 }, to: tensor)
    }
  }

  /// Makes the final linear layer know nothing of some classes: it gives all images `bias` as their logit. Far below zero
  /// they are never answered. Throws `internal` when the network does not end with a linear layer.
  func forget(_ classes: Set<Int32>, bias: Float = 0) throws {
    guard !classes.isEmpty else { return }
    guard let layer = graph.finalLinear else {
      throw PBEError(.internal, "the network does not end with a linear layer")
    }
    for (name, value) in [("\(layer).weight", 0), ("\(layer).bias", bias)] {
      let tensor = try tensor(name)
      var values: [Float] = try backend.read(tensor)
      let length = values.count / graph.classes
      for row in classes.map(Int.init) {
        for index in row * length..<(row + 1) * length { values[index] = value }
      }
      try backend.write(values, to: tensor)
    }
  }

  /// Every parameter and statistic, one after another.
  func values() throws -> [Float] {
    try graph.parameters.flatMap { specification -> [Float] in
      try backend.read(tensor(specification.name))
    }
  }

  /// Takes what ``values()`` gave.
  func setValues(_ values: [Float]) throws {
    var first = 0
    for specification in graph.parameters {
      let count = specification.shape.count
      try backend.write(Array(values[first..<first + count]), to: tensor(specification.name))
      first += count
    }
  }

  /// Copies every parameter and statistic of `other`, of the same network, possibly on another device.
  public func copy(from other: Weights) throws {
    for specification in graph.parameters {
      try backend.write(other.backend.read(other.tensor(specification.name)), to: tensor(specification.name))
    }
  }
}

/// The purposes of random numbers: a word of each Philox counter, so that no two uses draw the same numbers.
public enum RandomPurpose {
  static let initialWeights: UInt32 = 1
  static let poisonChoice: UInt32 = 2
  static let shuffle: UInt32 = 3
  static let extraSet: UInt32 = 4
  static let partner: UInt32 = 5
  /// What an attack draws once: its pattern, its field.
  static let triggerPattern: UInt32 = 6
  static let subset: UInt32 = 0x4C49_4D54
  static let randomStart: UInt32 = 7
  /// What an attack draws for each sample and epoch.
  static let triggerNoise: UInt32 = 8
  static let relapse: UInt32 = 9
  /// The initial values that ``Weights/shrink(keeping:seed:)`` mixes in.
  static let perturbation: UInt32 = 12
  /// The order of the images in a search for universal perturbations, and its random starts.
  static let universalSearch: UInt32 = 13
  static let universalStart: UInt32 = 14
  /// ``Augment`` uses this one and the next.
  static let augmentation: UInt32 = 10
  /// The input-aware attack's generators: initial values, and the order of the images of each role.
  static let patternGenerator: UInt32 = 30
  static let maskGenerator: UInt32 = 31
  static let roleOrder: UInt32 = 32  // and the next two
  /// What an analysis draws on the host: the Gaussians of a synthetic problem, and resampling.
  static let analysis: UInt32 = 40
  static let bootstrap: UInt32 = 41
  static let calibrationHalf: UInt32 = 42
  /// Dropout layer i uses this plus i.
  static let dropout: UInt32 = 1000
}
