import Kernels

/// The purposes that a network is compiled for. Each function writes one ``Program``; compiled by a backend it
/// is a plan: nothing is decided, allocated or copied when it runs.
public enum Plans {
  /// Evaluation-mode forward pass: no activation outlives its last reader.
  ///
  /// - Parameters:
  ///   - images: float32 image (n, c, h, w) in [0, 1].
  ///   - logits: float32 (n, classes, 1, 1), written.
  public static func infer(_ weights: Weights, images: Tensor, logits: Tensor) throws -> Program {
    var lowering = Lowering(weights, mode: .evaluation, batch: images.shape.n, program: Program())
    let result = try lowering.forward(lowering.program.bind(images))
    let output = lowering.program.bind(logits)
    lowering.program.append(.copy(Copy(input: result, output: output)))
    return lowering.program
  }

  /// One PGD step on a batch: forward and backward in evaluation mode, no gradient of any weight, and the fused
  /// sign, step and projection (Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018).
  ///
  /// - Parameters:
  ///   - adversarial: float32 image (n, c, h, w): the example, updated.
  ///   - origin: the image at the centre of the ball.
  ///   - labels: int32 per sample: the label that the loss moves away from.
  ///   - samples: int32 per sample: its index in the data set, for dropout in training mode; `nil` for none.
  ///   - totals: float32 vector of 2: sum of losses and count of correct answers before the step, added to.
  ///   - seed: the key of dropout's random numbers.
  public static func pgdStep(
    _ weights: Weights, adversarial: Tensor, origin: Tensor, labels: Tensor, samples: Tensor?, totals: Tensor,
    attack: PGD, seed: UInt64 = 0
  ) throws -> Program {
    var program = Program()
    let example = program.bind(adversarial)
    let samples = samples.map { program.bind($0) }
    let gradient = try inputGradient(
      weights, mode: attack.usesBatchStatistics ? .training : .evaluation, images: example,
      labels: program.bind(labels), samples: samples, totals: totals, seed: seed, in: &program)
    program.append(
      .pgdStep(
        PGDStep(
          adversarial: example, origin: program.bind(origin), gradient: gradient,
          stepSize: attack.stepSize, epsilon: attack.epsilon, clip: attack.clip, norm: attack.norm)))
    return program
  }

  /// One training step: forward in training mode, backward into every parameter, and the optimizer.
  ///
  /// - Parameters:
  ///   - images: float32 image (n, c, h, w).
  ///   - labels: int32 per sample.
  ///   - samples: int32 per sample: its index in the data set, for dropout.
  ///   - totals: float32 vector of 2: sum of losses and count of correct answers, added to.
  ///   - smoothing: the share of the target that all classes get alike (``SoftmaxCrossEntropy/smoothing``).
  ///   - teacher: whose answers are learned beside the labels.
  ///   - question: the images that the teacher answers; `nil` for `images`.
  ///   - dropout: whether dropout acts.
  ///   - masks: put on the parameters after the update. The step itself takes them as they are: ``mask(_:_:)`` comes
  ///     before the first.
  ///   - start: operators that come first.
  public static func train(
    _ weights: Weights, images: Tensor, labels: Tensor, samples: Tensor, totals: Tensor, optimizer: Optimizer,
    seed: UInt64, smoothing: Float = 0, teacher: Teacher? = nil, question: Tensor? = nil,
    dropout: Bool = true, masks: [WeightMask] = [], appendingTo start: Program = Program()
  ) throws -> Program {
    let batch = Batch(images: images, labels: labels, samples: samples)
    var program = start
    let sums = program.bind(totals)
    try gradients(
      weights, of: batch, totals: sums, optimizer, seed: seed, smoothing: smoothing, teacher: teacher,
      question: question, dropout: dropout, in: &program)
    optimizer.update(weights, in: &program)
    try put(masks, on: weights, in: &program)
    return program
  }

  /// One training step of sharpness-aware minimisation (Foret et al., 2021; adaptive: Kwon et al., 2021, and FT-SAM,
  /// Zhu et al., 2023): forward and backward, weights to where the loss is nearly greatest around them
  /// (``PerturbWeights``), forward and backward there, weights back, and the optimizer with the second gradients.
  ///
  /// Both passes draw the same dropout masks and normalise by the batch; only the first moves the running statistics
  /// and adds to `totals`.
  ///
  /// - Parameters:
  ///   - images: float32 image (n, c, h, w).
  ///   - labels: int32 per sample.
  ///   - samples: int32 per sample: its index in the data set, for dropout.
  ///   - totals: float32 vector of 2: sum of losses and count of correct answers, added to.
  ///   - radius: the length of the perturbation; adaptive, of the perturbation over the weights' magnitudes.
  ///   - adaptive: perturbs each weight in proportion to its size.
  ///   - smoothing: the share of the target that all classes get alike (``SoftmaxCrossEntropy/smoothing``).
  ///   - dropout: whether dropout acts.
  ///   - masks: put on the parameters after the update; the passes take them as they are.
  ///   - start: operators that come first.
  public static func sharpnessAwareTrain(
    _ weights: Weights, images: Tensor, labels: Tensor, samples: Tensor, totals: Tensor, optimizer: Optimizer,
    radius: Float, adaptive: Bool, seed: UInt64, smoothing: Float = 0, dropout: Bool = true,
    masks: [WeightMask] = [], appendingTo start: Program = Program()
  ) throws -> Program {
    let batch = Batch(images: images, labels: labels, samples: samples)
    var program = start
    let sums = program.bind(totals)
    try gradients(
      weights, of: batch, totals: sums, optimizer, seed: seed, smoothing: smoothing, dropout: dropout,
      in: &program)

    let parameters = program.bind(weights.trained)
    let saved = program.temporary(weights.trained.shape, role: .plain)
    program.append(
      .perturbWeights(
        PerturbWeights(
          parameters: parameters, gradients: program.bind(optimizer.gradientBlock), saved: saved,
          radius: radius, adaptive: adaptive)))

    let unused = program.temporary(totals.shape, role: .plain)
    program.append(.fill(Fill(output: unused, value: 0)))
    try gradients(
      weights, of: batch, totals: unused, optimizer, seed: seed, smoothing: smoothing, dropout: dropout,
      updatesStatistics: false, in: &program)

    program.append(.copy(Copy(input: saved, output: parameters)))
    optimizer.update(weights, in: &program)
    try put(masks, on: weights, in: &program)
    return program
  }

  /// Puts masks on parameters: pruning.
  public static func mask(_ weights: Weights, _ masks: [WeightMask]) throws -> Program {
    var program = Program()
    try put(masks, on: weights, in: &program)
    return program
  }

  // MARK: - Parts

  /// The tensors of a training batch.
  private struct Batch {
    let images: Tensor, labels: Tensor, samples: Tensor
  }

  /// Forward in training mode and backward into every parameter; `totals` is added to.
  private static func gradients(
    _ weights: Weights, of batch: Batch, totals: Value, _ optimizer: Optimizer, seed: UInt64,
    smoothing: Float, teacher: Teacher? = nil, question: Tensor? = nil, dropout: Bool,
    updatesStatistics: Bool = true, in program: inout Program
  ) throws {
    let lesson = try teacher.map { try $0.lesson(on: question ?? batch.images, in: &program) }
    // Dropout, which needs them for its random numbers, is left out without.
    let samples = dropout ? program.bind(batch.samples) : nil
    var lowering = Lowering(
      weights, mode: .training, batch: batch.images.shape.n, program: program, samples: samples, seed: seed,
      updatesStatistics: updatesStatistics)
    let images = lowering.program.bind(batch.images)
    let labels = lowering.program.bind(batch.labels)
    let gradient = try loss(
      &lowering, images: images, labels: labels, totals: totals, smoothing: smoothing, lesson: lesson)
    var backward = BackwardPass(lowering, parameterGradients: optimizer.gradients, wantsInput: false)
    program = try backward.write(outputGradient: gradient).program
  }

  private static func put(_ masks: [WeightMask], on weights: Weights, in program: inout Program) throws {
    for mask in masks {
      let parameter = program.bind(try weights.tensor(mask.parameter))
      program.append(.multiply(Multiply(a: parameter, b: program.bind(mask.factors), output: parameter)))
    }
  }

  /// The gradient of `weight` times the mean cross-entropy in the images; the network stays as it is.
  static func inputGradient(
    _ weights: Weights, mode: Lowering.Mode, images: Value, labels: Value, samples: Value?, totals: Tensor,
    weight: Float = 1, seed: UInt64 = 0, in program: inout Program
  ) throws -> Value {
    var lowering = Lowering(
      weights, mode: mode, batch: program[images].shape.n, program: program, samples: samples, seed: seed,
      updatesStatistics: false)
    let sums = lowering.program.bind(totals)
    let gradient = try loss(
      &lowering, images: images, labels: labels, totals: sums, smoothing: 0, weight: weight)
    var backward = BackwardPass(lowering, parameterGradients: [:], wantsInput: true)
    let written = try backward.write(outputGradient: gradient)
    program = written.program
    guard let result = written.inputGradient else {
      throw PBEError(.internal, "the network does not depend on its input")
    }
    return result
  }

  /// Forward pass and the gradient of the mean cross-entropy in the logits.
  static func loss(
    _ lowering: inout Lowering, images: Value, labels: Value, totals: Tensor
  ) throws -> Value {
    let totals = lowering.program.bind(totals)
    return try loss(&lowering, images: images, labels: labels, totals: totals, smoothing: 0)
  }

  private static func loss(
    _ lowering: inout Lowering, images: Value, labels: Value, totals: Value, smoothing: Float,
    lesson: Teacher.Lesson? = nil, weight: Float = 1
  ) throws -> Value {
    let logits = try lowering.forward(images)
    let gradient = lowering.program.temporary(lowering.program[logits].shape)
    let scale = weight / Float(lowering.batch)
    if let lesson {
      lowering.program.append(
        .distillation(
          Distillation(
            logits: logits, teacher: lesson.answers, labels: labels, totals: totals, logitsGradient: gradient,
            gradientScale: scale, temperature: lesson.teacher.temperature,
            labelShare: lesson.teacher.labelShare)))
    } else {
      lowering.program.append(
        .softmaxCrossEntropy(
          SoftmaxCrossEntropy(
            logits: logits, labels: labels, totals: totals, logitsGradient: gradient, gradientScale: scale,
            smoothing: smoothing)))
    }
    return gradient
  }
}

/// A network, in evaluation mode and left as it is, whose answers another one learns (``Distillation``).
public struct Teacher: Sendable {
  /// The network.
  public let weights: Weights
  /// What the logits of both are divided by.
  public var temperature: Float
  /// What the labels count, 0 to 1; the teacher counts the rest.
  public var labelShare: Float

  /// Creates a teacher; the temperature is the common one of Hinton et al.
  public init(_ weights: Weights, temperature: Float = 4, labelShare: Float = 0) {
    self.weights = weights
    self.temperature = temperature
    self.labelShare = labelShare
  }

  /// A teacher's logits for one batch.
  fileprivate struct Lesson {
    let teacher: Teacher
    let answers: Value
  }

  fileprivate func lesson(on images: Tensor, in program: inout Program) throws -> Lesson {
    var lowering = Lowering(weights, mode: .evaluation, batch: images.shape.n, program: program)
    let answers = try lowering.forward(lowering.program.bind(images))
    program = lowering.program
    return Lesson(teacher: self, answers: answers)
  }
}

/// Untargeted projected gradient ascent in the L-infinity or the L2 ball. Sizes are in the pixel range [0, 1]: of the
/// change of a pixel, or of the length of an image's change.
public struct PGD: Hashable, Sendable, Codable {
  /// The radius of the ball.
  public var epsilon: Float
  /// The size of one step.
  public var stepSize: Float
  /// The number of steps.
  public var steps: Int
  /// Starts at a random point of the ball rather than its centre.
  public var randomStart: Bool
  /// Clips examples to [0, 1].
  public var clip: Bool
  /// Makes examples with batch norm in training mode, running statistics untouched, rather than in evaluation mode.
  public var usesBatchStatistics: Bool
  /// The ball. Not part of a run's record: training always takes the L-infinity ball.
  public var norm = PerturbationNorm.infinity

  private enum CodingKeys: String, CodingKey {
    case epsilon, stepSize, steps, randomStart, clip, usesBatchStatistics
  }

  /// Creates an attack; the defaults are those of the paper's code: 6/255, a fifth of it, 7 steps, no random
  /// start, no clip, evaluation mode.
  public init(
    epsilon: Float = 6 / 255, stepSize: Float? = nil, steps: Int = 7, randomStart: Bool = false,
    clip: Bool = false,
    usesBatchStatistics: Bool = false, norm: PerturbationNorm = .infinity
  ) {
    self.norm = norm
    self.epsilon = epsilon
    self.stepSize = stepSize ?? epsilon / 5
    self.steps = steps
    self.randomStart = randomStart
    self.clip = clip
    self.usesBatchStatistics = usesBatchStatistics
  }
}

/// SGD with momentum over all of a network's parameters: its state and the gradients that feed it.
public final class Optimizer: Sendable {
  /// Decay of the velocity.
  public let momentum: Float
  /// L2 penalty.
  public let weightDecay: Float
  /// Nesterov's variant.
  public let nesterov: Bool
  /// The length that all gradients together have at most; `nil` for any.
  public let gradientLength: Float?
  /// Gradients by parameter name.
  let gradients: [String: Tensor]
  /// All of them, laid out as ``Weights/trained``.
  let gradientBlock: Tensor
  /// The velocity, laid out as ``Weights/trained``.
  public let velocity: Tensor
  /// Its parts by parameter name.
  let velocities: [String: Tensor]

  /// Creates the state, all zero. Throws `device` when there is not enough memory.
  public init(
    _ weights: Weights, momentum: Float = 0.9, nesterov: Bool = false, weightDecay: Float = 5e-4,
    gradientLength: Float? = nil
  ) throws {
    self.momentum = momentum
    self.nesterov = nesterov
    self.weightDecay = weightDecay
    self.gradientLength = gradientLength
    (gradientBlock, gradients) = try weights.likeTrained()
    (velocity, velocities) = try weights.likeTrained()
  }

  /// Appends the update of every parameter.
  func update(_ weights: Weights, in program: inout Program) {
    if let gradientLength {
      program.append(
        .clipGradients(
          ClipGradients(gradients: program.bind(gradientBlock), length: gradientLength)))
    }
    program.append(
      .sgd(
        SGD(
          parameters: program.bind(weights.trained), gradients: program.bind(gradientBlock),
          velocity: program.bind(velocity), momentum: momentum, weightDecay: weightDecay,
          nesterov: nesterov)))
  }
}
