import Kernels

extension NetworkSpecification {
  /// The entry of the first convolution, whose shape tells channels and width.
  private static func firstLayer(_ architecture: Architecture) -> String {
    architecture == .smallVGG ? "features.0.weight" : "conv1.weight"
  }

  /// The entry whose first extent is the width.
  private static func widthLayer(_ architecture: Architecture) -> String {
    architecture == .wrn16x1 ? "block1.layer.0.conv1.weight" : firstLayer(architecture)
  }

  /// The entry of the last linear layer, whose first extent is the number of classes.
  private static func lastLayer(_ architecture: Architecture) -> String {
    switch architecture {
    case .preactresnet18: "linear.weight"
    case .wrn16x1: "fc.weight"
    case .smallVGG: "classifier.weight"
    case .mnistNet: "linear9.weight"
    }
  }

  /// Reads width, classes and channels off a checkpoint's tensors; `nil` when it is not of this architecture.
  public init?(_ architecture: Architecture, of state: StateDictionary, height: Int, imageWidth: Int) {
    guard let first = state[Self.firstLayer(architecture)], first.shape.count == 4,
      let width = state[Self.widthLayer(architecture)]?.shape.first,
      let classes = state[Self.lastLayer(architecture)]?.shape.first
    else { return nil }
    self.init(
      architecture, width: width, classes: classes, channels: first.shape[1], height: height,
      imageWidth: imageWidth)
  }
}
