/// The kinds of work that are tuned apart: sums of products of one form and size class.
///
/// A convolution and the input gradient of one of stride 1 are the same kernels on another order of the filter, so they
/// share a family. Grouped convolutions belong to none.
enum ProductFamily: String, CaseIterable, Codable, CodingKeyRepresentable, Sendable {
  /// 3x3 of stride 1 and its input gradient, at least 64 channels on both sides.
  case convolution3x3
  /// 3x3 of stride 1 and its input gradient, 16 to 63 channels on one side.
  case convolution3x3Narrow
  /// All other convolutions: strided, 1x1, of a few channels; and input gradients of stride 1 of these.
  case convolution
  /// The input gradient of a strided convolution.
  case stridedInputGradient
  /// The filter gradient of 3x3 of stride 1, at least 64 channels on both sides.
  case filterGradient3x3
  /// The filter gradient of 3x3 of stride 1, 16 to 63 channels on one side.
  case filterGradient3x3Narrow
  /// All other filter gradients.
  case filterGradient
  /// Matrix products, also those with a transposed left matrix.
  case matrixProduct

  /// Winograd's algorithm can do it.
  var is3x3: Bool {
    switch self {
    case .convolution3x3, .convolution3x3Narrow, .filterGradient3x3, .filterGradient3x3Narrow: true
    default: false
    }
  }

  /// The family of a convolution of `inputs` to `outputs` channels, or of its input gradient.
  static func convolution(
    _ geometry: ConvolutionGeometry, inputs: Int, outputs: Int, isInputGradient: Bool = false
  ) -> ProductFamily {
    switch width(geometry, inputs, outputs) {
    case .wide: .convolution3x3
    case .narrow: .convolution3x3Narrow
    case .other: isInputGradient && geometry.stride > 1 ? .stridedInputGradient : .convolution
    }
  }

  /// The family of a filter gradient.
  static func filterGradient(
    _ geometry: ConvolutionGeometry, inputs: Int, outputs: Int
  ) -> ProductFamily {
    switch width(geometry, inputs, outputs) {
    case .wide: .filterGradient3x3
    case .narrow: .filterGradient3x3Narrow
    case .other: .filterGradient
    }
  }

  private enum Width { case wide, narrow, other }

  private static func width(_ g: ConvolutionGeometry, _ inputs: Int, _ outputs: Int) -> Width {
    guard (g.kernelHeight, g.kernelWidth, g.stride, g.dilation, g.groups) == (3, 3, 1, 1, 1),
      (0...2).contains(g.padding)
    else { return .other }
    let channels = min(inputs, outputs)
    return channels >= 64 ? .wide : channels >= 16 ? .narrow : .other
  }
}
