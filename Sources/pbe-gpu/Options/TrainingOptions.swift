import ArgumentParser
import Kernels
import PBE

/// The least and the largest learning rate that make sense; in between, nothing overflows or vanishes as a float32.
enum LearningRate {
  static func check(_ value: Double) throws {
    guard (1e-12...1000).contains(value) else {
      throw ValidationError("--learning-rate must be 1e-12 to 1000")
    }
  }
}

/// SGD's parameters; each command has defaults of its own.
struct SGDOptions: ParsableArguments {
  @Option(help: "Images per step.")
  var batch = 128

  @Option(help: "The momentum of SGD.")
  var momentum = 0.9

  @Flag(help: "Nesterov's variant of momentum.")
  var nesterov = false

  @Option(help: "The L2 penalty of SGD.")
  var weightDecay = 5e-4

  func validate() throws {
    try Self.check(batch: batch, momentum: momentum, weightDecay: weightDecay, nesterov: nesterov)
  }

  /// Throws for what is out of range, of options that are given.
  static func check(batch: Int?, momentum: Double?, weightDecay: Double?, nesterov: Bool) throws {
    guard (1...65536).contains(batch ?? 1) else { throw ValidationError("--batch must be 1 to 65536") }
    guard (0..<1).contains(momentum ?? 0) else {
      throw ValidationError("--momentum must be at least 0 and below 1")
    }
    guard (0...1).contains(weightDecay ?? 0) else {
      throw ValidationError("--weight-decay must be from 0 to 1")
    }
    guard !nesterov || momentum ?? 1 > 0 else {
      throw ValidationError("--nesterov needs --momentum above 0")
    }
  }
}

/// The augmentation of training batches (the paper's PostTensorTransform).
struct AugmentationOptions: ParsableArguments {
  @Flag(inversion: .prefixedNo, help: "Shift, rotate and mirror training images at random.")
  var augment = true

  @Option(help: "The largest shift in pixels. Default: 5.")
  var cropPadding: Int?

  @Option(help: "The probability that a batch is shifted. Default: 0.8.")
  var cropProbability: Double?

  @Option(help: "The largest rotation in degrees. Default: 10.")
  var rotation: Double?

  @Option(help: "The probability that a batch is rotated. Default: 0.5.")
  var rotationProbability: Double?

  @Option(help: "The probability that an image of a rotated batch is rotated. Default: 0.5.")
  var sampleRotationProbability: Double?

  @Option(
    help: "The probability that an image is mirrored. Default: 0.5 for CIFAR-10 and Fashion-MNIST, else 0.")
  var flipProbability: Double?

  func validate() throws {
    guard (0...64).contains(cropPadding ?? 0) else { throw ValidationError("--crop-padding must be 0 to 64") }
    guard (0...180).contains(rotation ?? 0) else {
      throw ValidationError("--rotation must be 0 to 180 degrees")
    }
    let probabilities = [
      ("--crop-probability", cropProbability), ("--rotation-probability", rotationProbability),
      ("--sample-rotation-probability", sampleRotationProbability), ("--flip-probability", flipProbability),
    ]
    for (name, value) in probabilities where !(0...1).contains(value ?? 0) {
      throw ValidationError("\(name) must be from 0 to 1")
    }
    let given = probabilities + [("--crop-padding", cropPadding.map(Double.init)), ("--rotation", rotation)]
    if !augment, let name = given.first(where: { $1 != nil })?.0 {
      throw ValidationError("with --no-augment, \(name) changes nothing: leave it away")
    }
  }

  func augmentation(flips: Bool) -> Augmentation? {
    guard augment else { return nil }
    var result = Augmentation(flips: flips)
    result.cropPadding = cropPadding ?? result.cropPadding
    result.cropProbability = cropProbability.map { Float($0) } ?? result.cropProbability
    result.rotationDegrees = rotation.map { Float($0) } ?? result.rotationDegrees
    result.rotationProbability = rotationProbability.map { Float($0) } ?? result.rotationProbability
    result.sampleRotationProbability =
      sampleRotationProbability.map { Float($0) } ?? result.sampleRotationProbability
    result.flipProbability = flipProbability.map { Float($0) } ?? result.flipProbability
    return result
  }
}

/// How adversarial examples are made; sizes in units of 1/255.
struct PGDOptions: ParsableArguments {
  @Option(help: "The largest change of a pixel, in units of 1/255. Default: 6.")
  var epsilon: Double?

  @Option(help: "The size of a PGD step, in units of 1/255. Default: a fifth of --epsilon.")
  var stepSize: Double?

  @Option(help: "The number of PGD steps. Default: 7.")
  var pgdSteps: Int?

  @Flag(help: "Start PGD at a random point of the ball.")
  var randomStart = false

  @Flag(help: "Clip adversarial examples to valid pixels. The paper's code does not.")
  var clip = false

  @Flag(
    help: "Make adversarial examples with batch norm in training mode. The paper's code uses evaluation mode."
  )
  var craftInTrainingMode = false

  func validate() throws {
    guard (0...255).contains(epsilon ?? 0), (0...255).contains(stepSize ?? 0) else {
      throw ValidationError("--epsilon and --step-size are in units of 1/255, from 0 to 255")
    }
    guard (0...1000).contains(pgdSteps ?? 0) else { throw ValidationError("--pgd-steps must be 0 to 1000") }
  }

  /// Whether any of them is given.
  var isGiven: Bool {
    epsilon != nil || stepSize != nil || pgdSteps != nil || randomStart || clip || craftInTrainingMode
  }

  var attack: PGD {
    let defaults = PGD()
    return PGD(
      epsilon: epsilon.map { Float($0 / 255) } ?? defaults.epsilon,
      stepSize: stepSize.map { Float($0 / 255) },
      steps: pgdSteps ?? defaults.steps, randomStart: randomStart, clip: clip,
      usesBatchStatistics: craftInTrainingMode)
  }
}
