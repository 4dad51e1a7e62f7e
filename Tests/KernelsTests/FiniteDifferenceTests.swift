import Kernels
import Testing

@testable import Parity

/// Every gradient of the reference against central differences in double precision.
@Suite struct FiniteDifferenceTests {
  private let step = 1e-5

  private static func random(_ shape: Shape, purpose: UInt32, scale: Double = 2) -> ReferenceTensor {
    var stream = PhiloxStream(seed: 99, purpose: purpose)
    return ReferenceTensor(shape).mapped { _, _ in (Double(stream.nextUniform()) - 0.5) * 2 * scale }
  }

  /// Checks the gradients of `sum(function(inputs) * dy)` in every input.
  private func check(
    _ inputs: [ReferenceTensor], _ function: ([ReferenceTensor]) -> ReferenceTensor,
    gradients: ([ReferenceTensor], _ dy: ReferenceTensor) -> [ReferenceTensor],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let dy = Self.random(function(inputs).shape, purpose: 1000, scale: 1)
    func loss(_ inputs: [ReferenceTensor]) -> Double {
      zip(function(inputs).values, dy.values).reduce(0) { $0 + $1.0 * $1.1 }
    }
    let analytic = gradients(inputs, dy)
    #expect(analytic.count == inputs.count, sourceLocation: sourceLocation)
    for (k, input) in inputs.enumerated() {
      let numeric = input.mapped { i, value in
        var (above, below) = (inputs, inputs)
        above[k][i] = value + step
        below[k][i] = value - step
        return (loss(above) - loss(below)) / (2 * step)
      }
      // The differences are off by step^2 and by rounding / step: 1e-10 of the norm, squared far less.
      let error = normalisedError(analytic[k].values, numeric.values)
      #expect(error < 1e-15, "input \(k)", sourceLocation: sourceLocation)
      #expect(
        numeric.values.contains { abs($0) > 1e-3 }, "nothing to compare", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: [
    ConvolutionShape(2, 3, 6, 5, to: 4, 3, 3, padding: 1),
    ConvolutionShape(1, 4, 7, 7, to: 6, 3, 3, stride: 2, padding: 1, groups: 2),
    ConvolutionShape(1, 2, 8, 7, to: 3, 3, 2, padding: 2, dilation: 2),
    ConvolutionShape(2, 4, 5, 5, to: 4, 1, 1, stride: 2),
    ConvolutionShape(1, 3, 5, 5, to: 6, 3, 3, padding: 1, groups: 3),
  ]) func convolution(_ shape: ConvolutionShape) {
    check(
      [
        Self.random(shape.input, purpose: 1), Self.random(shape.filter, purpose: 2),
        Self.random(.vector(shape.channels), purpose: 3),
      ]
    ) {
      Reference.convolution($0[0], filter: $0[1], bias: $0[2], shape.geometry)
    } gradients: { inputs, dy in
      [
        Reference.convolutionInputGradient(dy, filter: inputs[1], inputShape: shape.input, shape.geometry),
        Reference.convolutionFilterGradient(
          inputs[0], outputGradient: dy, filterShape: shape.filter, shape.geometry),
        Reference.channelSum(dy),
      ]
    }
  }

  @Test func linearLayer() {
    check([Self.random(Shape(4, 7), purpose: 4), Self.random(Shape(5, 7), purpose: 5)]) {
      Reference.matrixProduct($0[0], $0[1], transposeB: true)
    } gradients: { inputs, dy in
      [
        Reference.matrixProduct(dy, inputs[1]),
        Reference.matrixProduct(dy, inputs[0], transposeA: true),
      ]
    }
  }

  /// An image whose every preactivation keeps a distance from the kinks.
  private func input(_ shape: Shape, _ activation: Activation, _ map: ReferenceAffine?) -> ReferenceTensor {
    let image = Self.random(shape, purpose: 6, scale: 4)
    let distances = Reference.affine(image, map).values.flatMap { z in
      Reference.kinks(activation).map { abs(z - $0) }
    }
    #expect((distances.min() ?? 1) > 10 * step, "the inputs lie on a kink")
    return image
  }

  @Test(arguments: Activation.everyCase) func activation(_ activation: Activation) {
    let map = ReferenceAffine(
      scale: Self.random(.vector(3), purpose: 7), shift: Self.random(.vector(3), purpose: 8))
    for affine in [nil, map] {
      check([input(Shape(2, 3, 4, 3), activation, affine)]) {
        Reference.affineActivation($0[0], affine, activation)
      } gradients: {
        [Reference.affineActivationGradient($1, input: $0[0], affine, activation)]
      }
    }
  }

  @Test(arguments: Activation.everyCase) func batchNorm(_ activation: Activation) {
    let image = Self.random(Shape(3, 4, 3, 2), purpose: 9)
    let gamma = Self.random(.vector(4), purpose: 10).mapped { $1 + 3 }
    let beta = Self.random(.vector(4), purpose: 11, scale: 0.5)
    func statistics(_ inputs: [ReferenceTensor]) -> ReferenceStatistics {
      Reference.batchNormStatistics(
        inputs[0], gamma: inputs[1], beta: inputs[2], runningMean: beta, runningVariance: gamma,
        momentum: 0.1,
        epsilon: 1e-5)
    }
    check([image, gamma, beta]) {
      Reference.affineActivation($0[0], statistics($0).affine, activation)
    } gradients: { inputs, dy in
      let s = statistics(inputs)
      let (dgamma, dbeta) = Reference.batchNormParameterGradient(
        dy, input: inputs[0], affine: s.affine, activation: activation, mean: s.mean,
        inverseDeviation: s.inverseDeviation)
      let dx = Reference.batchNormInputGradient(
        dy, input: inputs[0], affine: s.affine, activation: activation, mean: s.mean,
        inverseDeviation: s.inverseDeviation, gammaGradient: dgamma, betaGradient: dbeta)
      return [dx, dgamma, dbeta]
    }
  }

  @Test(arguments: [PoolGeometry.Kind.maximum, .average], [(2, 2, 0), (3, 2, 1), (3, 1, 1), (6, 1, 0)])
  func pool(_ kind: PoolGeometry.Kind, _ window: (Int, Int, Int)) {
    let geometry = PoolGeometry(
      kind, kernelHeight: window.0, kernelWidth: window.0, stride: window.1, padding: window.2)
    let image = Self.random(Shape(2, 3, 6, 6), purpose: 12)
    #expect(Reference.smallestLead(image, geometry) > 10 * step, "the inputs lie on a kink")
    check([image]) {
      Reference.pool($0[0], geometry)
    } gradients: {
      [Reference.poolGradient($1, input: $0[0], inputShape: $0[0].shape, geometry)]
    }
  }

  @Test(arguments: [false, true], [(9, 7), (3, 2), (1, 1)]) func resize(_ corners: Bool, _ size: (Int, Int)) {
    let image = Self.random(Shape(2, 2, 5, 4), purpose: 13)
    check([image]) {
      Reference.resize($0[0], height: size.0, width: size.1, .bilinear, alignCorners: corners)
    } gradients: {
      [Reference.resizeGradient($1, inputShape: $0[0].shape, alignCorners: corners)]
    }
  }

  @Test(arguments: [0, 0.1, 1]) func softmaxCrossEntropy(_ smoothing: Double) {
    let labels = ReferenceTensor([3, 0, 1, 4])
    let logits = Self.random(Shape(4, 5), purpose: 14)
    check([logits]) {
      let result = Reference.softmaxCrossEntropy(
        $0[0], labels: labels, gradientScale: 1, smoothing: smoothing)
      return ReferenceTensor([result.loss])
    } gradients: { inputs, dy in
      let result = Reference.softmaxCrossEntropy(
        inputs[0], labels: labels, gradientScale: dy[0], smoothing: smoothing)
      return [result.gradient]
    }
  }

  @Test(arguments: [0, 0.3, 1]) func distillation(_ labelShare: Double) {
    let labels = ReferenceTensor([3, 0, 1, 4])
    let (logits, teacher) = (Self.random(Shape(4, 5), purpose: 16), Self.random(Shape(4, 5), purpose: 17))
    check([logits]) {
      let result = Reference.distillation(
        $0[0], teacher: teacher, labels: labels, gradientScale: 1, temperature: 3, labelShare: labelShare)
      return ReferenceTensor([result.loss])
    } gradients: { inputs, dy in
      let result = Reference.distillation(
        inputs[0], teacher: teacher, labels: labels, gradientScale: dy[0], temperature: 3,
        labelShare: labelShare)
      return [result.gradient]
    }
  }

  /// Dropout's gradient is dropout itself.
  @Test func dropout() {
    let samples = ReferenceTensor([5, 17])
    func drop(_ x: ReferenceTensor) -> ReferenceTensor {
      Reference.dropout(x, samples: samples, rate: 0.4, epoch: 1, purpose: 2, seed: 3)
    }
    check([Self.random(Shape(2, 3, 4, 4), purpose: 15)]) {
      drop($0[0])
    } gradients: {
      [drop($1)]
    }
  }

  @Test(arguments: [1, 3]) func triggerFromImages(_ maskChannels: Int) {
    let flags = ReferenceTensor([1, 0, 2, 4, 1])
    let image = Self.random(Shape(5, 3, 4, 3), purpose: 16)
    let mask = Self.random(Shape(3, maskChannels, 4, 3), purpose: 17)
    for kind in [ApplyTrigger.Kind.blend, .additive] {
      check([Self.random(Shape(3, 3, 4, 3), purpose: 18)]) {
        Reference.applyTrigger(image, pattern: $0[0], mask: mask, flags: flags, kind, clip: false)
      } gradients: {
        [Reference.applyTriggerGradient($1, mask: mask, flags: flags)]
      }
    }
  }

  @Test(arguments: [2, 5]) func diversityLoss(_ count: Int) {
    let inputs = ReferenceTensor(
      Reference.neighbourDistances(Self.random(Shape(count, 3, 4, 4), purpose: 19)))
    func loss(_ outputs: ReferenceTensor, _ scale: Double) -> (loss: Double, gradient: ReferenceTensor) {
      Reference.diversityLoss(
        outputs, inputDistances: inputs,
        outputDistances: ReferenceTensor(Reference.neighbourDistances(outputs)), gradientScale: scale)
    }
    check([Self.random(Shape(count, 2, 4, 4), purpose: 20)]) {
      ReferenceTensor([loss($0[0], 1).loss])
    } gradients: {
      [loss($0[0], $1[0]).gradient]
    }
  }
}
