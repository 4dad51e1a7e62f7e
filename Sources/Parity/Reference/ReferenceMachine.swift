import Kernels

/// Runs a ``Program`` in double precision on the host.
///
/// Temporaries start as not-a-number, so that a program that reads what it never wrote shows.
public struct ReferenceMachine {
  /// The contents of the bound tensors.
  public var tensors: [ObjectIdentifier: ReferenceTensor] = [:]
  /// How many elements lay so close to a jump of their operator (within ``kinkDistance``, but not on it) that single
  /// precision may rightly fall on the other side. The table's inputs are chosen so that there are none.
  public private(set) var nearKinks = 0
  /// See ``nearKinks``.
  public static let kinkDistance = 1e-5

  private var program = Program()
  private var memory: [ReferenceTensor] = []

  /// Creates a machine with empty memory.
  public init() {}

  /// Runs every operator in order. The tensors that the program binds must be in ``tensors``; missing ones start as
  /// not-a-number.
  public mutating func run(_ program: Program, _ parameters: RunParameters) {
    self.program = program
    memory = program.values.map { specification in
      specification.tensor.flatMap { tensors[ObjectIdentifier($0)] }
        ?? ReferenceTensor(specification.shape, filledWith: .nan)
    }
    for operation in program.operations { execute(operation, parameters) }
    for (specification, contents) in zip(program.values, memory) {
      if let tensor = specification.tensor { tensors[ObjectIdentifier(tensor)] = contents }
    }
  }

  private subscript(value: Value) -> ReferenceTensor {
    get { memory[value.index] }
    set {
      // Matrices may be images of one pixel: the elements count, not how their shape is spelt.
      memory[value.index] = ReferenceTensor(program[value].shape, newValue.values)
    }
  }

  private func optional(_ value: Value?) -> ReferenceTensor? { value.map { self[$0] } }

  private func map(_ affine: ChannelAffine?) -> ReferenceAffine? {
    affine.map { ReferenceAffine(scale: self[$0.scale], shift: self[$0.shift]) }
  }

  private func transformed(_ input: Value, _ prologue: Prologue?) -> ReferenceTensor {
    guard let prologue else { return self[input] }
    return Reference.affineActivation(self[input], map(prologue.affine), prologue.activation)
  }

  private mutating func set(_ value: Value, _ result: ReferenceTensor, accumulate: Bool) {
    self[value] = accumulate ? result.plus(self[value]) : result
  }

  private mutating func setAffine(_ target: ChannelAffine, _ source: ReferenceAffine) {
    self[target.scale] = source.scale
    self[target.shift] = source.shift
  }

  private mutating func countKinks(_ input: Value, _ affine: ChannelAffine?, _ activation: Activation) {
    let kinks = Reference.kinks(activation)
    for z in Reference.affine(self[input], map(affine)).values {
      nearKinks += kinks.count { z != $0 && abs(z - $0) < Self.kinkDistance }
    }
  }

  private mutating func execute(_ operation: Operation, _ parameters: RunParameters) {
    switch operation {
    case .convolution(let d):
      self[d.output] = Reference.convolution(
        transformed(d.input, d.prologue), filter: self[d.filter], bias: optional(d.bias),
        residual: optional(d.residual),
        d.geometry)
    case .convolutionInputGradient(let d):
      let gradient = Reference.convolutionInputGradient(
        self[d.outputGradient], filter: self[d.filter], inputShape: program[d.inputGradient].shape, d.geometry
      )
      set(d.inputGradient, gradient, accumulate: d.accumulate)
    case .convolutionFilterGradient(let d):
      self[d.filterGradient] = Reference.convolutionFilterGradient(
        transformed(d.input, d.prologue), outputGradient: self[d.outputGradient],
        filterShape: program[d.filterGradient].shape, d.geometry)
    case .channelSum(let d): self[d.output] = Reference.channelSum(self[d.input])
    case .matrixProduct(let d):
      let product = Reference.matrixProduct(
        self[d.a], self[d.b], transposeA: d.transposeA, transposeB: d.transposeB, bias: optional(d.bias))
      set(d.output, ReferenceTensor(program[d.output].shape, product.values), accumulate: d.accumulate)
    case .batchNormStatistics, .batchNormFold, .affineActivation, .affineActivationGradient,
      .batchNormParameterGradient, .batchNormInputGradient:
      executeNormalisation(operation)
    case .softmaxCrossEntropy, .distillation, .argMax, .agreement, .sum, .sgd, .adam, .perturbWeights,
      .clipGradients, .pgdStep:
      executeLearning(operation, parameters)
    case .applyTrigger, .applyTriggerGradient, .neighbourDistance, .diversityLoss: executeTrigger(operation)
    case .sliceRows, .gatherImages, .gatherIntegers, .storeRows, .augment, .dropout, .randomUniform:
      executeData(operation, parameters)
    case .pool, .poolGradient, .resize, .resizeGradient, .gridSample, .add, .multiply, .fill, .copy:
      executeImage(operation)
    }
  }

  private mutating func executeNormalisation(_ operation: Operation) {
    switch operation {
    case .batchNormStatistics(let d):
      let result = Reference.batchNormStatistics(
        self[d.input], gamma: self[d.gamma], beta: self[d.beta], runningMean: self[d.runningMean],
        runningVariance: self[d.runningVariance], momentum: Double(d.momentum), epsilon: Double(d.epsilon))
      self[d.mean] = result.mean
      self[d.inverseDeviation] = result.inverseDeviation
      self[d.runningMean] = result.runningMean
      self[d.runningVariance] = result.runningVariance
      setAffine(d.affine, result.affine)
    case .batchNormFold(let d):
      let result = Reference.batchNormFold(
        gamma: self[d.gamma], beta: self[d.beta], runningMean: self[d.runningMean],
        runningVariance: self[d.runningVariance], epsilon: Double(d.epsilon))
      setAffine(d.affine, result.affine)
      if let value = d.inverseDeviation { self[value] = result.inverseDeviation }
    case .affineActivation(let d):
      self[d.output] = Reference.affineActivation(self[d.input], map(d.affine), d.activation)
    case .affineActivationGradient(let d):
      countKinks(d.input, d.affine, d.activation)
      let gradient = Reference.affineActivationGradient(
        self[d.outputGradient], input: self[d.input], map(d.affine), d.activation)
      set(d.inputGradient, gradient, accumulate: d.accumulate)
    case .batchNormParameterGradient(let d):
      countKinks(d.input, d.affine, d.activation)
      let affine = ReferenceAffine(scale: self[d.affine.scale], shift: self[d.affine.shift])
      (self[d.gammaGradient], self[d.betaGradient]) = Reference.batchNormParameterGradient(
        self[d.outputGradient], input: self[d.input], affine: affine, activation: d.activation,
        mean: self[d.mean],
        inverseDeviation: self[d.inverseDeviation])
    case .batchNormInputGradient(let d):
      countKinks(d.input, d.affine, d.activation)
      let affine = ReferenceAffine(scale: self[d.affine.scale], shift: self[d.affine.shift])
      let gradient = Reference.batchNormInputGradient(
        self[d.outputGradient], input: self[d.input], affine: affine, activation: d.activation,
        mean: self[d.mean],
        inverseDeviation: self[d.inverseDeviation], gammaGradient: self[d.gammaGradient],
        betaGradient: self[d.betaGradient])
      set(d.inputGradient, gradient, accumulate: d.accumulate)
    default: break
    }
  }

  private mutating func executeImage(_ operation: Operation) {
    switch operation {
    case .pool(let d): self[d.output] = Reference.pool(self[d.input], d.geometry)
    case .poolGradient(let d):
      if d.geometry.kind == .maximum, let input = optional(d.input),
        Reference.smallestLead(input, d.geometry) < Self.kinkDistance
      {
        nearKinks += 1
      }
      let gradient = Reference.poolGradient(
        self[d.outputGradient], input: optional(d.input), inputShape: program[d.inputGradient].shape,
        d.geometry)
      set(d.inputGradient, gradient, accumulate: d.accumulate)
    case .resize(let d):
      let shape = program[d.output].shape
      self[d.output] = Reference.resize(
        self[d.input], height: shape.h, width: shape.w, d.interpolation, alignCorners: d.alignCorners)
    case .resizeGradient(let d):
      self[d.inputGradient] = Reference.resizeGradient(
        self[d.outputGradient], inputShape: program[d.inputGradient].shape, alignCorners: d.alignCorners)
    case .gridSample(let d):
      self[d.output] = Reference.gridSample(self[d.input], field: self[d.field], flags: optional(d.flags))
    case .add(let d): self[d.output] = self[d.a].plus(self[d.b])
    case .multiply(let d):
      let b = self[d.b]
      self[d.output] = self[d.a].mapped { $1 * b[$0] }
    case .fill(let d): self[d.output] = ReferenceTensor(program[d.output].shape, filledWith: Double(d.value))
    case .copy(let d): self[d.output] = self[d.input]
    default: break
    }
  }

  private mutating func executeLearning(_ operation: Operation, _ parameters: RunParameters) {
    switch operation {
    case .softmaxCrossEntropy(let d):
      nearKinks += Reference.smallestLead(self[d.logits]) < Self.kinkDistance ? 1 : 0
      let result = Reference.softmaxCrossEntropy(
        self[d.logits], labels: self[d.labels], gradientScale: Double(d.gradientScale),
        smoothing: Double(d.smoothing))
      self[d.totals] = self[d.totals].plus(ReferenceTensor([result.loss, result.correct]))
      if let gradient = d.logitsGradient { self[gradient] = result.gradient }
    case .distillation(let d):
      nearKinks += Reference.smallestLead(self[d.logits]) < Self.kinkDistance ? 1 : 0
      let result = Reference.distillation(
        self[d.logits], teacher: self[d.teacher], labels: self[d.labels],
        gradientScale: Double(d.gradientScale), temperature: Double(d.temperature),
        labelShare: Double(d.labelShare))
      self[d.totals] = self[d.totals].plus(ReferenceTensor([result.loss, result.correct]))
      self[d.logitsGradient] = result.gradient
    case .argMax(let d):
      nearKinks += Reference.smallestLead(self[d.input]) < Self.kinkDistance ? 1 : 0
      self[d.output] = ReferenceTensor(Reference.argMax(self[d.input]))
    case .agreement(let d): self[d.output] = ReferenceTensor(Reference.agreement(self[d.a], self[d.b]))
    case .sum(let d): self[d.output] = ReferenceTensor([self[d.input].values.reduce(0, +)])
    case .sgd(let d):
      (self[d.parameters], self[d.velocity]) = Reference.sgd(
        self[d.parameters], gradients: self[d.gradients], velocity: self[d.velocity],
        learningRate: Double(parameters.learningRate), momentum: Double(d.momentum),
        weightDecay: Double(d.weightDecay), nesterov: d.nesterov)
    case .adam(let d):
      (self[d.parameters], self[d.firstMoment], self[d.secondMoment]) = Reference.adam(
        self[d.parameters], gradients: self[d.gradients], first: self[d.firstMoment],
        second: self[d.secondMoment],
        d, learningRate: Double(parameters.learningRate), step: Int(parameters.step))
    case .perturbWeights(let d):
      self[d.saved] = self[d.parameters]
      self[d.parameters] = Reference.perturbWeights(
        self[d.parameters], gradients: self[d.gradients], radius: Double(d.radius), adaptive: d.adaptive)
    case .clipGradients(let d):
      self[d.gradients] = Reference.clipGradients(self[d.gradients], length: Double(d.length))
    case .pgdStep(let d):
      if d.norm == .infinity {
        nearKinks += self[d.gradient].values.count { $0 != 0 && abs($0) < Self.kinkDistance }
      }
      self[d.adversarial] = Reference.pgdStep(
        self[d.adversarial], origin: self[d.origin], gradient: self[d.gradient], stepSize: Double(d.stepSize),
        epsilon: Double(d.epsilon), clip: d.clip, norm: d.norm)
    default: break
    }
  }

  private mutating func executeTrigger(_ operation: Operation) {
    switch operation {
    case .applyTrigger(let d):
      self[d.output] = Reference.applyTrigger(
        self[d.input], pattern: self[d.pattern], mask: self[d.mask], flags: optional(d.flags), d.kind,
        clip: d.clip)
    case .applyTriggerGradient(let d):
      let gradient = Reference.applyTriggerGradient(
        self[d.outputGradient], mask: self[d.mask], flags: optional(d.flags))
      set(d.patternGradient, gradient, accumulate: d.accumulate)
    case .neighbourDistance(let d):
      self[d.output] = ReferenceTensor(Reference.neighbourDistances(self[d.input]))
    case .diversityLoss(let d):
      let result = Reference.diversityLoss(
        self[d.outputs], inputDistances: self[d.inputDistances], outputDistances: self[d.outputDistances],
        gradientScale: Double(d.gradientScale))
      self[d.total] = self[d.total].plus(ReferenceTensor([result.loss]))
      self[d.outputsGradient] = result.gradient
    default: break
    }
  }

  private mutating func executeData(_ operation: Operation, _ parameters: RunParameters) {
    switch operation {
    case .sliceRows(let d):
      let first = Int(parameters.rowOffset)
      let count = program[d.output].shape.count
      let rows = self[d.rows].values
      self[d.output] = ReferenceTensor((first..<first + count).map { rows[min($0, rows.count - 1)] })
    case .gatherImages(let d):
      let shape = program[d.output].shape
      self[d.output] = Reference.gather(self[d.images], rows: self[d.rows], shape: shape).mapped { $1 / 255 }
    case .gatherIntegers(let d):
      self[d.output] = Reference.gather(self[d.table], rows: self[d.rows], shape: program[d.output].shape)
    case .storeRows(let d):
      self[d.table] = Reference.storeRows(
        self[d.input], table: self[d.table], offset: Int(parameters.rowOffset))
    case .augment(let d):
      self[d.output] = Reference.augment(
        self[d.input], samples: self[d.samples], d, epoch: parameters.epoch, step: parameters.step)
    case .dropout(let d):
      self[d.output] = Reference.dropout(
        self[d.input], samples: self[d.samples], rate: Double(d.rate), epoch: parameters.epoch,
        purpose: d.purpose,
        seed: d.seed)
    case .randomUniform(let d):
      let draws = Reference.uniform(
        program[d.output].shape, samples: self[d.samples], epoch: parameters.epoch, purpose: d.purpose,
        seed: d.seed)
      self[d.output] = draws.mapped { Double(d.low) + (Double(d.high) - Double(d.low)) * $1 }
    default: break
    }
  }
}
