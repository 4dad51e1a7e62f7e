import Kernels

/// Trains a network on batches of a data set, on plain or on adversarial examples: gathering, trigger, augmentation,
/// attack, forward, backward and update, all on the device. The one training loop of `infect`, AFT and PBE, but for the attack
/// that trains its trigger (``DynamicTrainer``). Adversarial
/// examples are PGD's, or the images of which the first half carries universal perturbations.
public final class Trainer {
  /// What one epoch did.
  public struct Epoch: Sendable {
    /// The mean loss, before each update.
    public let loss: Double
    /// The share of right answers, before each update.
    public let accuracy: Double
    /// Images seen.
    public let images: Int
  }

  /// How far a trainer is.
  public struct Position: Sendable, Codable, Equatable {
    /// Whole epochs done.
    public var epochs: UInt32 = 0
    /// Steps done in all.
    public var steps: UInt32 = 0
    /// Steps done of the epoch that has begun.
    public var stepsOfEpoch = 0
    /// Whole epochs done of what comes before the first epoch (``EpochTrainer/prepare(progress:reached:)``), while which
    /// the steps are its own.
    public var prepared: UInt32 = 0
  }

  /// The plans of one batch size.
  private struct Plan {
    let load: any Executable
    let start: any Executable
    /// `nil` where the perturbations are universal.
    let pgd: (any Executable)?
    let clean: any Executable
    let adversarial: any Executable
  }

  /// The network.
  public let weights: Weights
  private let data: DeviceImages
  /// How it trains.
  public let settings: TrainingSettings
  private let masks: [WeightMask]
  private let teacher: Teacher?
  private let perturbations: Tensor?
  /// Whether it learns a teacher's answers.
  var isTaught: Bool { teacher != nil }
  /// Whether PGD makes its adversarial examples.
  var usesPGD: Bool { perturbations == nil }
  let optimizer: Optimizer
  private let rows: Tensor
  /// The epoch's sum of losses and number of right answers so far.
  let totals: Tensor
  private let attackTotals: Tensor
  private var plans: [Int: Plan] = [:]
  /// How far it is; random numbers are keyed by it, also across changes of the extra set.
  public internal(set) var position = Position()

  /// Creates a trainer. Throws `device` when there is not enough memory.
  ///
  /// - Parameters:
  ///   - masks: put on the parameters after each step.
  ///   - teacher: learned from where no step is sharpness-aware; it answers the images as they were before they became
  ///     adversarial.
  ///   - perturbations: float32 image (k, c, h, w), added to the images of adversarial examples in turn, within [0, 1];
  ///     `nil` for PGD. Half of each batch stays plain, so that batch norm sees both together.
  public init(
    _ weights: Weights, data: DeviceImages, settings: TrainingSettings, masks: [WeightMask] = [],
    teacher: Teacher? = nil, perturbations: Tensor? = nil
  ) throws {
    self.perturbations = perturbations
    self.weights = weights
    self.masks = masks
    self.teacher = teacher
    self.data = data
    self.settings = settings
    optimizer = try Optimizer(
      weights, momentum: settings.momentum, nesterov: settings.nesterov, weightDecay: settings.weight_decay,
      gradientLength: settings.gradient_length)
    rows = try weights.backend.makeTensor(Shape(data.count, 1), type: .int32)
    totals = try weights.backend.makeTensor(.vector(2))
    attackTotals = try weights.backend.makeTensor(.vector(2))
  }

  private func plan(_ batch: Int) throws -> Plan {
    if let plan = plans[batch] { return plan }
    let backend = weights.backend
    let shape = data.images.shape
    let images = try backend.makeTensor(Shape(batch, shape.c, shape.h, shape.w), role: .image)
    let example = try backend.makeTensor(images.shape, role: .image)
    let labels = try backend.makeTensor(Shape(batch, 1), type: .int32)
    let samples = try backend.makeTensor(Shape(batch, 1), type: .int32)

    var load = Program()
    let loaded = try data.load(batch, rows: rows, augmentedBy: settings, in: &load)
    load.append(.copy(Copy(input: loaded.labels, output: load.bind(labels))))
    load.append(.copy(Copy(input: loaded.samples, output: load.bind(samples))))
    load.append(.copy(Copy(input: loaded.images, output: load.bind(images))))
    let attack = settings.attack
    var start = Program()
    if let perturbations {
      let flags = try backend.makeTensor(
        (0..<batch).map { Int32($0 < batch / 2 ? 1 : 0) }, shape: Shape(batch, 1))
      start.append(
        .applyTrigger(
          ApplyTrigger(
            input: start.bind(images), pattern: start.bind(perturbations),
            mask: start.bind(try UniversalSearch.wholeImages(perturbations.shape, on: backend)),
            flags: start.bind(flags), output: start.bind(example), kind: .additive, clip: true)))
    } else if attack.randomStart {
      let noise = start.temporary(images.shape)
      start.append(
        .randomUniform(
          RandomUniform(
            samples: start.bind(samples), output: noise, low: -attack.epsilon, high: attack.epsilon,
            seed: settings.seed, purpose: RandomPurpose.randomStart)))
      start.append(.add(Add(a: start.bind(images), b: noise, output: start.bind(example))))
    } else {
      start.append(.copy(Copy(input: start.bind(images), output: start.bind(example))))
    }

    func train(_ input: Tensor) throws -> Program {
      guard settings.sam_radius > 0 else {
        return try Plans.train(
          weights, images: input, labels: labels, samples: samples, totals: totals, optimizer: optimizer,
          seed: settings.seed, smoothing: settings.label_smoothing, teacher: teacher, question: images,
          dropout: settings.dropout, masks: masks)
      }
      return try Plans.sharpnessAwareTrain(
        weights, images: input, labels: labels, samples: samples, totals: totals, optimizer: optimizer,
        radius: settings.sam_radius, adaptive: settings.sam_adaptive, seed: settings.seed,
        smoothing: settings.label_smoothing, dropout: settings.dropout, masks: masks)
    }
    var programs = [load, start, try train(images), try train(example)]
    if usesPGD {
      programs.append(
        try Plans.pgdStep(
          weights, adversarial: example, origin: images, labels: labels,
          samples: settings.dropout ? samples : nil, totals: attackTotals, attack: attack, seed: settings.seed
        ))
    }
    let compiled = try backend.compile(programs)
    let plan = Plan(
      load: compiled[0], start: compiled[1], pgd: compiled.count > 4 ? compiled[4] : nil, clean: compiled[2],
      adversarial: compiled[3])
    plans[batch] = plan
    return plan
  }

  /// One pass over the given images, or the rest of one that ``restore(from:as:at:)`` found begun.
  ///
  /// - Parameters:
  ///   - indices: which images of the data set.
  ///   - isAdversarial: which steps train on adversarial examples, by their number in the epoch and the number of steps.
  ///   - learningRate: the learning rate for each step, by its number in the epoch and the number of steps.
  ///   - progress: called after each step with the number of images done; throwing stops the epoch.
  /// - Returns: the mean loss and accuracy. Throws `badData` when the loss is not finite.
  @discardableResult
  public func epoch(
    on indices: [Int], isAdversarial: (_ step: Int, _ steps: Int) -> Bool = { _, _ in false },
    learningRate: (_ step: Int, _ steps: Int) -> Float, progress: (_ done: Int) throws -> Void = { _ in }
  ) throws -> Epoch {
    let backend = weights.backend
    var order = indices
    if settings.shuffles {
      order = Permutation.of(
        indices.count, seed: settings.seed, purpose: RandomPurpose.shuffle, epoch: position.epochs
      ).map { indices[$0] }
    }
    let padded = order + Array(repeating: 0, count: data.count - order.count)
    try backend.write(padded.map { Int32($0) }, to: rows)
    if position.stepsOfEpoch == 0 { try backend.write([Float(0), 0], to: totals) }
    let count = (order.count + settings.batch - 1) / settings.batch
    var pace = QueuePace(backend)
    while position.stepsOfEpoch < count {
      let step = position.stepsOfEpoch
      let first = step * settings.batch
      let plan = try plan(min(settings.batch, order.count - first))
      position.steps += 1
      position.stepsOfEpoch += 1
      let parameters = RunParameters(
        rowOffset: Int32(first), epoch: position.epochs, step: position.steps,
        learningRate: learningRate(step, count))
      try plan.load.run(parameters)
      if isAdversarial(step, count) {
        try plan.start.run(parameters)
        if let pgd = plan.pgd { for _ in 0..<settings.attack.steps { try pgd.run(parameters) } }
        try plan.adversarial.run(parameters)
      } else {
        try plan.clean.run(parameters)
      }
      try pace.handedOut()
      try progress(min(order.count, first + settings.batch))
    }
    position.epochs += 1
    position.stepsOfEpoch = 0
    let sums = try backend.read(totals)
    guard sums[0].isFinite else {
      throw PBEError(
        .badData, "training diverged: the loss is not finite after epoch \(position.epochs)",
        at: data.backend.device.identifier,
        remedy: "use a smaller --learning-rate")
    }
    return Epoch(
      loss: Double(sums[0]) / Double(order.count), accuracy: Double(sums[1]) / Double(order.count),
      images: order.count)
  }
}
