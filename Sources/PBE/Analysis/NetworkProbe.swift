import Kernels

/// Asks a network about images that lie on the host: its logits, the features behind them, and adversarial examples of it.
///
/// Images are float32 NCHW in [0, 1], one after another. The steps of an attack run on the device, without a transfer.
public final class NetworkProbe {
  /// What a network says to some images.
  public struct Answers: Sendable {
    /// The number of classes.
    public let classes: Int
    /// The number of channels of ``features``.
    public let channels: Int
    /// Row-major (images, classes).
    public let logits: [Float]
    /// Row-major (images, channels): each channel of the last stage after ReLU, averaged over the image.
    public let features: [Float]

    /// The class of each image's largest logit, the first of equals.
    public var labels: [Int32] {
      PBE.Answers(logits, labels: [Int32](repeating: 0, count: logits.count / classes)).classes
    }

    /// The features of one image.
    public func features(of image: Int) -> ArraySlice<Float> {
      features[image * channels..<(image + 1) * channels]
    }

    /// How far the logit of an image's label is above the largest other one.
    func margin(of image: Int, label: Int32) -> Double {
      let row = Array(logits[image * classes..<(image + 1) * classes])
      return Double(PBE.Answers(row, labels: [label]).margins[0])
    }
  }

  /// The network.
  public let weights: Weights
  private let batch: Int
  private let images: Tensor, example: Tensor, labels: Tensor, samples: Tensor, totals: Tensor
  private let logits: Tensor, features: Tensor
  private let infer: any Executable
  private var attacks: [PGD: any Executable] = [:]

  /// Compiles the forward pass for batches of `batch` images. Throws `device` when there is not enough memory.
  public init(_ weights: Weights, batch: Int = 128) throws {
    self.weights = weights
    self.batch = batch
    let backend = weights.backend
    var shape = weights.graph.input
    shape.n = batch
    images = try backend.makeTensor(shape, role: .image)
    example = try backend.makeTensor(shape, role: .image)
    labels = try backend.makeTensor(Shape(batch, 1), type: .int32)
    samples = try backend.makeTensor(Shape(batch, 1), type: .int32)
    totals = try backend.makeTensor(.vector(2))
    logits = try backend.makeTensor(Shape(batch, weights.graph.classes))
    var lowering = Lowering(weights, mode: .evaluation, batch: batch, program: Program())
    let answers = try lowering.forward(lowering.program.bind(images))
    lowering.program.append(.copy(Copy(input: answers, output: lowering.program.bind(logits))))
    let averages = lowering.channelAverages()
    features = try backend.makeTensor(lowering.program[averages].shape, role: .image)
    lowering.program.append(.copy(Copy(input: averages, output: lowering.program.bind(features))))
    infer = try backend.compile([lowering.program])[0]
  }

  /// The network's answers. `progress` gets the number of images done; throwing stops. Throws `badData` when an answer is
  /// not finite.
  public func answers(
    to pixels: [Float], progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> Answers {
    let backend = weights.backend
    var (allLogits, allFeatures): ([Float], [Float]) = ([], [])
    try eachBatch(of: pixels, into: [images]) { range in
      try infer.run(RunParameters())
      allLogits += try backend.read(logits).prefix(range.count * logits.shape.c)
      allFeatures += try backend.read(features).prefix(range.count * features.shape.c)
      try progress(range.upperBound)
    }
    guard allLogits.allSatisfy(\.isFinite) else {
      throw PBEError(
        .badData, "the model's answers to the test images are not finite", remedy: "the model is damaged")
    }
    return Answers(
      classes: logits.shape.c, channels: features.shape.c, logits: allLogits, features: allFeatures)
  }

  /// Adversarial examples of the images, untargeted: away from `labels`.
  public func adversarial(
    _ pixels: [Float], labels: [Int32], attack: PGD, progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> [Float] {
    let backend = weights.backend
    let step = try attacks[attack] ?? compile(attack)
    attacks[attack] = step
    var result: [Float] = []
    result.reserveCapacity(pixels.count)
    try eachBatch(of: pixels, into: [images, example]) { range in
      let own = labels[range]
      try backend.write(own + Array(repeating: own.last ?? 0, count: batch - own.count), to: self.labels)
      for _ in 0..<attack.steps { try step.run(RunParameters()) }
      result += try backend.read(example).prefix(range.count * weights.graph.input.count)
      try progress(range.upperBound)
    }
    return result
  }

  private func compile(_ attack: PGD) throws -> any Executable {
    try weights.backend.compile([
      Plans.pgdStep(
        weights, adversarial: example, origin: images, labels: labels, samples: samples, totals: totals,
        attack: attack)
    ])[0]
  }

  /// Writes batch after batch to `tensors`; the last one is filled up with its last image.
  private func eachBatch(
    of pixels: [Float], into tensors: [Tensor], _ body: (Range<Int>) throws -> Void
  ) throws {
    let size = weights.graph.input.count
    for first in stride(from: 0, to: pixels.count / size, by: batch) {
      let range = first..<min(first + batch, pixels.count / size)
      var part = Array(pixels[range.lowerBound * size..<range.upperBound * size])
      let last = Array(part.suffix(size))
      for _ in range.count..<batch { part += last }
      for tensor in tensors { try weights.backend.write(part, to: tensor) }
      try body(range)
    }
  }
}

extension Lowering {
  /// Each channel of the last stage, after ReLU, averaged over the image: image (n, channels, 1, 1). The last stage is
  /// what the final linear layer, or the average pooling before it, reads. After ``forward(_:)``.
  mutating func channelAverages() -> Value {
    var node = graph.penultimate
    while let source = graph.nodes[node].inputs.first {
      switch graph.nodes[node].layer {
      case .dropout: node = source
      case .pool(let geometry) where geometry.kind == .average: node = source
      default: return averages(of: node)
      }
    }
    return averages(of: node)
  }

  private mutating func averages(of node: Int) -> Value {
    let shape = shape(node)
    let positive = program.temporary(shape)
    program.append(
      .affineActivation(
        AffineActivation(input: value(node), activation: .relu, output: positive)))
    guard shape.h * shape.w > 1 else { return positive }
    let geometry = PoolGeometry(
      .average, kernelHeight: shape.h, kernelWidth: shape.w, stride: max(shape.h, shape.w))
    let output = program.temporary(geometry.output(shape))
    program.append(.pool(Pool(input: positive, output: output, geometry: geometry)))
    return output
  }
}
