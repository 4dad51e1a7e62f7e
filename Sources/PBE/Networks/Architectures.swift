import Kernels

/// The networks that this project knows by name. A new one is a case and a function that builds its graph.
public enum Architecture: String, CaseIterable, Sendable {
  /// PreActResNet-18 without a final batch norm, as the paper's code has it (He et al., "Identity mappings in
  /// deep residual networks", 2016).
  case preactresnet18
  /// WRN-16-1 as Neural Attention Distillation published it.
  case wrn16x1 = "wrn-16-1"
  /// The small VGG that I-BAU published.
  case smallVGG = "small-vgg"
  /// The network for MNIST of WaNet's and the paper's code.
  case mnistNet = "mnist-net"

  /// The width (channels of the first stage) that the name stands for.
  public var defaultWidth: Int {
    switch self {
    case .preactresnet18: 64
    case .wrn16x1: 16
    case .smallVGG, .mnistNet: 32
    }
  }
}

/// What a network is, in the few numbers that a model file records.
public struct NetworkSpecification: Hashable, Sendable {
  /// The architecture.
  public var architecture: Architecture
  /// Channels of the first stage.
  public var width: Int
  /// The number of classes.
  public var classes: Int
  /// Channels, height and width of the images.
  public var channels: Int, height: Int, imageWidth: Int
  /// Input normalisation per channel; empty for none.
  public var mean: [Float], deviation: [Float]

  /// Creates a specification; `width` defaults to the architecture's own.
  public init(
    _ architecture: Architecture, width: Int? = nil, classes: Int, channels: Int, height: Int = 32,
    imageWidth: Int = 32, mean: [Float] = [], deviation: [Float] = []
  ) {
    self.architecture = architecture
    self.width = width ?? architecture.defaultWidth
    self.classes = classes
    self.channels = channels
    self.height = height
    self.imageWidth = imageWidth
    self.mean = mean
    self.deviation = deviation
  }

  /// Builds the network's graph. Throws `usage` when the numbers make no sense for the architecture.
  public func graph() throws -> Graph {
    func require(_ condition: Bool, _ what: String, _ remedy: String) throws {
      if !condition {
        throw PBEError(.usage, what, at: "--architecture \(architecture.rawValue)", remedy: remedy)
      }
    }
    try require((1...4096).contains(width), "width \(width) is out of range", "use --width 1 to 4096")
    try require((2...100_000).contains(classes), "\(classes) classes are out of range", "use at least 2")
    try require(
      mean.count == deviation.count && (mean.isEmpty || mean.count == channels)
        && (mean + deviation).allSatisfy(\.isFinite) && deviation.allSatisfy { $0 > 0 },
      "--mean and --std need \(channels) finite numbers each, and deviations above zero",
      "give one number per channel")
    var g = Graph(channels: channels, height: height, width: imageWidth)
    let x = mean.isEmpty ? 0 : g.normalise(0, mean: mean, deviation: deviation)
    switch architecture {
    case .preactresnet18:
      try require(
        (25...32).contains(height) && (25...32).contains(imageWidth),
        "images of \(height)x\(imageWidth) don't suit it", "it takes 25x25 to 32x32")
      g.preActResNet18(x, width: width, classes: classes)
    case .wrn16x1:
      try require(height == 32 && imageWidth == 32, "images must be 32x32", "use 32x32 images")
      g.wideResNet16(x, width: width, classes: classes)
    case .smallVGG:
      try require(
        height >= 8 && imageWidth >= 8, "images of \(height)x\(imageWidth) are too small", "use 32x32 images")
      g.smallVGG(x, width: width, classes: classes)
    case .mnistNet:
      try require(
        height >= 8 && imageWidth >= 8, "images of \(height)x\(imageWidth) are too small", "use 28x28 images")
      g.mnistNet(x, width: width, classes: classes)
    }
    return g
  }
}

extension Graph {
  /// A pre-activation block: `conv2(relu(bn2(conv1(relu(bn1(x)))))) + shortcut`, where the shortcut is `x` or, when
  /// the shape changes, a 1x1 convolution of `relu(bn1(x))`.
  private mutating func preActBlock(
    _ x: Int, _ name: String, channels: Int, stride: Int, shortcut: String
  ) -> Int {
    let first = activation(batchNorm(x, "\(name).bn1"))
    let changes = stride != 1 || nodes[x].shape.c != channels
    let side =
      changes
      ? convolution(first, "\(name).\(shortcut)", channels: channels, kernel: 1, stride: stride) : x
    let middle = convolution(
      first, "\(name).conv1", channels: channels, kernel: 3, stride: stride, padding: 1)
    let second = activation(batchNorm(middle, "\(name).bn2"))
    return add(convolution(second, "\(name).conv2", channels: channels, kernel: 3, padding: 1), side)
  }

  fileprivate mutating func preActResNet18(_ input: Int, width: Int, classes: Int) {
    var x = convolution(input, "conv1", channels: width, kernel: 3, padding: 1)
    for stage in 0..<4 {
      for block in 0..<2 {
        x = preActBlock(
          x, "layer\(stage + 1).\(block)", channels: width << stage, stride: stage > 0 && block == 0 ? 2 : 1,
          shortcut: "shortcut.0")
      }
    }
    x = pool(x, .average, kernel: 4)
    _ = linear(x, "linear", features: classes)
  }

  fileprivate mutating func wideResNet16(_ input: Int, width: Int, classes: Int) {
    var x = convolution(input, "conv1", channels: 16, kernel: 3, padding: 1)
    for stage in 0..<3 {
      for block in 0..<2 {
        x = preActBlock(
          x, "block\(stage + 1).layer.\(block)", channels: width << stage,
          stride: stage > 0 && block == 0 ? 2 : 1, shortcut: "convShortcut")
      }
    }
    x = activation(batchNorm(x, "bn1"))
    x = pool(x, .average, kernel: 8)
    _ = linear(x, "fc", features: classes)
  }

  fileprivate mutating func smallVGG(_ input: Int, width: Int, classes: Int) {
    var x = input
    var position = 0
    for (stage, rate) in [Float(0.3), 0.4, 0.4].enumerated() {
      for _ in 0..<2 {
        x = convolution(
          x, "features.\(position)", channels: width << stage, kernel: 3, padding: 1, bias: true)
        x = activation(batchNorm(x, "features.\(position + 1)"), .elu(alpha: 1))
        position += 3
      }
      x = dropout(pool(x, .maximum, kernel: 2), rate: rate)
      position += 2
    }
    _ = linear(x, "classifier", features: classes)
  }

  fileprivate mutating func mnistNet(_ input: Int, width: Int, classes: Int) {
    var x = activation(
      convolution(input, "conv1", channels: width, kernel: 3, stride: 2, padding: 1, bias: true))
    for (name, channels) in [("layer2", 2 * width), ("layer3", 2 * width)] {
      x = convolution(
        activation(batchNorm(x, "\(name).bn1")), "\(name).conv1", channels: channels, kernel: 3, stride: 2,
        padding: 1)
    }
    x = dropout(activation(linear(x, "linear6", features: 512)), rate: 0.3)
    _ = linear(x, "linear9", features: classes)
  }
}
