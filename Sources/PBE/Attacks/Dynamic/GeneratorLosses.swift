import Kernels

/// The losses that generators are trained with ("Input-aware dynamic backdoor attack", and its released code), as operators.
enum GeneratorLosses {
  /// A mask's mean above this costs.
  static let maskDensity: Float = 0.032

  /// Writes the diversity loss of a batch over its neighbours; returns its gradient in the outputs, times `weight`.
  ///
  /// The official code pairs two independently shuffled batches. Neighbours in one shuffled batch are as random, and
  /// take half the passes through the generator.
  static func diversity(
    inputs: Value, outputs: Value, total: Tensor, weight: Float, in program: inout Program
  ) -> Value {
    let distances = [inputs, outputs].map { images in
      let distance = program.temporary(.vector(program[images].shape.n), role: .plain)
      program.append(.neighbourDistance(NeighbourDistance(input: images, output: distance)))
      return distance
    }
    let gradient = program.temporary(program[outputs].shape)
    program.append(
      .diversityLoss(
        DiversityLoss(
          inputDistances: distances[0], outputDistances: distances[1], outputs: outputs,
          total: program.bind(total), outputsGradient: gradient, gradientScale: weight)))
    return gradient
  }

  /// Writes the mean of `relu(mask - maskDensity)`; its gradient, times `weight`, is added to `gradient`.
  static func density(
    of mask: Value, total: Tensor, weight: Float, addingTo gradient: Value, on backend: any Backend,
    in program: inout Program
  ) throws {
    let shape = program[mask].shape
    let scale = 1 / Float(shape.count)
    // relu(mask - density) / count = relu(mask / count - density / count): the sum is the mean.
    let affine = ChannelAffine(
      scale: program.bind(try backend.makeTensor([scale], shape: .vector(1))),
      shift: program.bind(try backend.makeTensor([-maskDensity * scale], shape: .vector(1))))
    let excess = program.temporary(shape)
    let mean = program.temporary(.vector(1), role: .plain)
    program.append(
      .affineActivation(AffineActivation(input: mask, affine: affine, activation: .relu, output: excess)))
    program.append(.sum(Sum(input: excess, output: mean)))
    let totals = program.bind(total)
    program.append(.add(Add(a: totals, b: mean, output: totals)))
    let weights = program.temporary(shape)
    program.append(.fill(Fill(output: weights, value: weight)))
    program.append(
      .affineActivationGradient(
        AffineActivationGradient(
          outputGradient: weights, input: mask, affine: affine, activation: .relu, inputGradient: gradient,
          accumulate: true)))
  }
}
