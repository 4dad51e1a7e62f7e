import Kernels

extension ParityTable {
  /// The sums of real batches: kernels that split long reductions, or tile large images, do so only there. The
  /// reference takes seconds for each, so they run on demand.
  public static let large: [OperatorCase] = {
    let stages: [ConvolutionShape] = [
      .same(32, 3, 32, 32, to: 64), .same(16, 64, 32, 32, to: 64), .same(16, 128, 16, 16, to: 128),
      .same(16, 256, 8, 8, to: 256), .same(32, 512, 4, 4, to: 512), .same(128, 16, 32, 32, to: 16),
      ConvolutionShape(32, 64, 32, 32, to: 128, 3, 3, stride: 2, padding: 1),
      ConvolutionShape(32, 64, 32, 32, to: 128, 1, 1, stride: 2),
      ConvolutionShape(8, 64, 56, 56, to: 64, 3, 3, padding: 1),
      ConvolutionShape(4, 3, 224, 224, to: 32, 7, 7, stride: 2, padding: 3),
      ConvolutionShape(16, 96, 28, 28, to: 96, 3, 3, padding: 1, groups: 96),
    ]
    return stages.flatMap { [convolution($0), inputGradient($0), filterGradient($0)] }
      + [
        // Among millions of elements some lie on any kink: an activation without one.
        statistics(Shape(128, 64, 32, 32)), batchNormGradient(Shape(64, 64, 32, 32), .silu),
        statistics(Shape(256, 512, 4, 4)), sum(Shape(64, 64, 32, 32)),
        perturbation(.vector(2_000_003), adaptive: true),
      ]
  }()
}
