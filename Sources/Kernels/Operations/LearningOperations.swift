/// Softmax cross-entropy of each row, its gradient, and the running totals of loss and correct answers. The target is
/// `(1 - smoothing) * onehot + smoothing / classes` (PyTorch's `label_smoothing`).
public struct SoftmaxCrossEntropy: OperationDescriptor {
  /// (n, classes, 1, 1).
  public var logits: Value
  /// int32 per row, in 0..<classes.
  public var labels: Value
  /// float32 vector of 2, added to: the sum of the rows' losses, and the number of rows whose largest logit (the
  /// first of equals) is the label's.
  public var totals: Value
  /// (n, classes, 1, 1), written when given: `gradientScale * (softmax - target)`.
  public var logitsGradient: Value?
  /// One over the batch size, for the gradient of the mean.
  public var gradientScale: Float
  /// The share of the target that all classes get alike, 0 to 1.
  public var smoothing: Float

  /// Creates the operator.
  public init(
    logits: Value, labels: Value, totals: Value, logitsGradient: Value? = nil, gradientScale: Float = 1,
    smoothing: Float = 0
  ) {
    self.logits = logits
    self.labels = labels
    self.totals = totals
    self.logitsGradient = logitsGradient
    self.gradientScale = gradientScale
    self.smoothing = smoothing
  }

  public var reads: [Value] { [logits, labels, totals] }
  public var writes: [Value] { [totals] + (logitsGradient.map { [$0] } ?? []) }
}

/// The loss of a student that learns a teacher's answers and the labels (Hinton et al., "Distilling the knowledge in a
/// neural network", 2015), its gradient, and the running totals of loss and answers that are the label:
/// `(1 - labelShare) * T^2 * KL(softmax(teacher / T) || softmax(logits / T)) + labelShare * crossEntropy(logits, label)`.
public struct Distillation: OperationDescriptor {
  /// (n, classes, 1, 1): the student's.
  public var logits: Value
  /// (n, classes, 1, 1).
  public var teacher: Value
  /// int32 per row, in 0..<classes.
  public var labels: Value
  /// float32 vector of 2, added to: the sum of the rows' losses, and the number of rows whose largest logit (the
  /// first of equals) is the label's.
  public var totals: Value
  /// (n, classes, 1, 1), written: `gradientScale` times the loss's gradient in `logits`.
  public var logitsGradient: Value
  /// One over the batch size, for the gradient of the mean.
  public var gradientScale: Float
  /// T: what both models' logits are divided by.
  public var temperature: Float
  /// What the labels count, 0 to 1; the teacher counts the rest.
  public var labelShare: Float

  /// Creates the operator.
  public init(
    logits: Value, teacher: Value, labels: Value, totals: Value, logitsGradient: Value,
    gradientScale: Float = 1, temperature: Float, labelShare: Float
  ) {
    self.logits = logits
    self.teacher = teacher
    self.labels = labels
    self.totals = totals
    self.logitsGradient = logitsGradient
    self.gradientScale = gradientScale
    self.temperature = temperature
    self.labelShare = labelShare
  }

  public var reads: [Value] { [logits, teacher, labels, totals] }
  public var writes: [Value] { [totals, logitsGradient] }
}

/// The first largest element of each row.
public struct ArgMax: OperationDescriptor {
  /// (n, classes, 1, 1).
  public var input: Value
  /// int32, one per row.
  public var output: Value

  /// Creates the operator.
  public init(input: Value, output: Value) {
    self.input = input
    self.output = output
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// The agreement of two models on each sample: 0.5 + 0.5 * cosine of their logits; 0 where a row is zero or
/// not finite (PBE, algorithm 1, step 3).
public struct Agreement: OperationDescriptor {
  /// (n, classes, 1, 1).
  public var a: Value, b: Value
  /// float32, one per row.
  public var output: Value

  /// Creates the operator.
  public init(a: Value, b: Value, output: Value) {
    self.a = a
    self.b = b
    self.output = output
  }

  public var reads: [Value] { [a, b] }
  public var writes: [Value] { [output] }
}

/// The sum of all elements, in an order that depends on the shape alone.
public struct Sum: OperationDescriptor {
  /// float32, any shape.
  public var input: Value
  /// float32, one element.
  public var output: Value

  /// Creates the operator.
  public init(input: Value, output: Value) {
    self.input = input
    self.output = output
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [output] }
}

/// Stochastic gradient descent as PyTorch's: `g += weightDecay * p; v = momentum * v + g;
/// p -= learningRate * (nesterov ? g + momentum * v : v)`. The learning rate comes with each run.
public struct SGD: OperationDescriptor {
  /// Tensors of one shape: read and written.
  public var parameters: Value
  /// Read.
  public var gradients: Value
  /// Read and written; zero at first.
  public var velocity: Value
  /// Decay of the velocity.
  public var momentum: Float
  /// L2 penalty.
  public var weightDecay: Float
  /// Nesterov's variant.
  public var nesterov: Bool

  /// Creates the operator.
  public init(
    parameters: Value, gradients: Value, velocity: Value, momentum: Float, weightDecay: Float,
    nesterov: Bool = false
  ) {
    self.parameters = parameters
    self.gradients = gradients
    self.velocity = velocity
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.nesterov = nesterov
  }

  public var reads: [Value] { [parameters, gradients, velocity] }
  public var writes: [Value] { [parameters, velocity] }
}

/// Adam as PyTorch's (L2 penalty added to the gradient). The learning rate and the step, from 1, come with each run.
public struct Adam: OperationDescriptor {
  /// Tensors of one shape: read and written.
  public var parameters: Value
  /// Read.
  public var gradients: Value
  /// Read and written; zero at first.
  public var firstMoment: Value, secondMoment: Value
  /// Decay of the moments.
  public var beta1: Float, beta2: Float
  /// Added to the root of the second moment.
  public var epsilon: Float
  /// L2 penalty.
  public var weightDecay: Float

  /// Creates the operator.
  public init(
    parameters: Value, gradients: Value, firstMoment: Value, secondMoment: Value, beta1: Float = 0.9,
    beta2: Float = 0.999, epsilon: Float = 1e-8, weightDecay: Float = 0
  ) {
    self.parameters = parameters
    self.gradients = gradients
    self.firstMoment = firstMoment
    self.secondMoment = secondMoment
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var reads: [Value] { [parameters, gradients, firstMoment, secondMoment] }
  public var writes: [Value] { [parameters, firstMoment, secondMoment] }
}

/// Moves parameters to where the loss is nearly greatest around them, and keeps where they were: the ascent of
/// sharpness-aware minimisation (Foret et al., 2021; adaptive: Kwon et al., 2021, and FT-SAM, Zhu et al., 2023),
/// `saved = p; p += radius * t^2 * g / (||t * g|| + 1e-12)`, where t is |p| when adaptive, else 1.
///
/// The norm is the whole vector's, summed in an order that depends on the shape alone.
public struct PerturbWeights: OperationDescriptor {
  /// Tensors of one shape: read and written.
  public var parameters: Value
  /// Read.
  public var gradients: Value
  /// Written: the parameters before. Copying it back undoes the operator.
  public var saved: Value
  /// The length of the perturbation; adaptive, of the perturbation over |p|.
  public var radius: Float
  /// Perturbs each parameter in proportion to its size.
  public var adaptive: Bool

  /// Creates the operator.
  public init(parameters: Value, gradients: Value, saved: Value, radius: Float, adaptive: Bool) {
    self.parameters = parameters
    self.gradients = gradients
    self.saved = saved
    self.radius = radius
    self.adaptive = adaptive
  }

  public var reads: [Value] { [parameters, gradients] }
  public var writes: [Value] { [saved, parameters] }
}

/// Shortens gradients, `g *= min(1, length / ||g||)`, so that one step can't lead far away (Pascanu et al., "On the
/// difficulty of training recurrent neural networks", ICML 2013). Shorter ones keep every bit.
///
/// The norm is the whole vector's, summed in an order that depends on the shape alone.
public struct ClipGradients: OperationDescriptor {
  /// Read and written.
  public var gradients: Value
  /// The length that all of them together have at most.
  public var length: Float

  /// Creates the operator.
  public init(gradients: Value, length: Float) {
    self.gradients = gradients
    self.length = length
  }

  public var reads: [Value] { [gradients] }
  public var writes: [Value] { [gradients] }
}

/// The ball that a perturbation stays in.
public enum PerturbationNorm: String, Hashable, Sendable, Codable {
  /// The largest change of any pixel.
  case infinity
  /// The length of all changes of a sample as one vector.
  case two
}

/// One step of projected gradient ascent, fused. In the L-infinity ball
/// `z += stepSize * sign(gradient); z = clamp(z, origin - epsilon, origin + epsilon)`, where `sign(0)` is 0; in the L2 ball,
/// per sample, `d = z - origin + stepSize * gradient / |gradient|; z = origin + d * min(1, epsilon / |d|)`, where a gradient of
/// zero moves nothing. Then [0, 1] when clipping.
public struct PGDStep: OperationDescriptor {
  /// Tensors of one shape: the example, read and written.
  public var adversarial: Value
  /// The image at the centre of the ball.
  public var origin: Value
  /// The loss's gradient in the example.
  public var gradient: Value
  /// In units of the pixel range [0, 1].
  public var stepSize: Float
  /// In units of the pixel range [0, 1].
  public var epsilon: Float
  /// Clips to [0, 1].
  public var clip: Bool
  /// The norm of step and ball.
  public var norm: PerturbationNorm

  /// Creates the operator.
  public init(
    adversarial: Value, origin: Value, gradient: Value, stepSize: Float, epsilon: Float, clip: Bool = false,
    norm: PerturbationNorm = .infinity
  ) {
    self.adversarial = adversarial
    self.origin = origin
    self.gradient = gradient
    self.stepSize = stepSize
    self.epsilon = epsilon
    self.clip = clip
    self.norm = norm
  }

  public var reads: [Value] { [adversarial, origin, gradient] }
  public var writes: [Value] { [adversarial] }
}
