import CKernels

/// Turns operators into closures over bound pointers.
struct CPUCompiler {
  typealias Step = CPUExecutable.Step

  let program: Program
  let scratch: CPUScratch
  private let pointers: [UnsafeMutableRawPointer?]

  init(program: Program, plan: MemoryPlan, arena: CPUStorage, scratch: CPUScratch) throws {
    self.program = program
    self.scratch = scratch
    var starts: [Int] = []
    for chunk in plan.chunks { starts.append((starts.last ?? 0) + chunk) }
    starts.insert(0, at: 0)
    pointers = try zip(program.values, plan.places).map { value, place in
      if let tensor = value.tensor { return try tensor.cpuPointer() }
      return place.map { arena.base + starts[$0.chunk] + $0.offset }
    }
  }

  /// A value's memory.
  func pointer(_ value: Value) throws -> UnsafeMutableRawPointer {
    guard let pointer = pointers[value.index] else {
      throw PBEError(.internal, "value \(value.index) has no memory")
    }
    return pointer
  }

  /// A float32 value's memory.
  func floats(_ value: Value) throws -> UnsafeMutablePointer<Float> {
    try pointer(value).assumingMemoryBound(to: Float.self)
  }

  /// A float32 value's memory, or nothing.
  func floats(_ value: Value?) throws -> UnsafeMutablePointer<Float>? {
    try value.map { try floats($0) }
  }

  /// An int32 value's memory.
  func integers(_ value: Value) throws -> UnsafeMutablePointer<Int32> {
    try pointer(value).assumingMemoryBound(to: Int32.self)
  }

  /// A value's shape.
  func shape(_ value: Value) -> Shape { program[value].shape }

  /// A prologue with its pointers bound.
  func bind(_ prologue: Prologue?) throws -> pbe_prologue {
    let prologue = prologue ?? Prologue()
    return pbe_prologue(
      scale: try floats(prologue.affine?.scale), shift: try floats(prologue.affine?.shift),
      kind: prologue.activation.code, parameter: prologue.activation.parameter)
  }

  /// A fused slope with its pointers bound; the result is added to `sum`.
  func bind(_ slope: FusedSlope, sum: Value?) throws -> pbe_slope {
    pbe_slope(
      x: try floats(slope.input), scale: try floats(slope.affine?.scale),
      shift: try floats(slope.affine?.shift),
      kind: slope.activation.code, parameter: slope.activation.parameter, sum: try floats(sum))
  }

  /// The closure that does one operator.
  func step(for operation: Operation) throws -> Step {
    switch operation {
    case .convolution(let d): try convolution(d)
    case .convolutionInputGradient(let d): try convolutionInputGradient(d)
    case .convolutionFilterGradient(let d): try convolutionFilterGradient(d)
    case .channelSum(let d): try channelSum(d)
    case .matrixProduct(let d): try matrixProduct(d)
    case .batchNormStatistics(let d): try batchNormStatistics(d)
    case .batchNormFold(let d): try batchNormFold(d)
    case .affineActivation(let d): try affineActivation(d)
    case .affineActivationGradient(let d): try affineActivationGradient(d)
    case .batchNormParameterGradient(let d): try batchNormParameterGradient(d)
    case .batchNormInputGradient(let d): try batchNormInputGradient(d)
    case .pool(let d): try pool(d)
    case .poolGradient(let d): try poolGradient(d)
    case .resize(let d): try resize(d)
    case .resizeGradient(let d): try resizeGradient(d)
    case .gridSample(let d): try gridSample(d)
    case .add(let d): try add(d)
    case .multiply(let d): try multiply(d)
    case .dropout(let d): try dropout(d)
    case .fill(let d): try fill(d)
    case .copy(let d): try copy(d)
    case .randomUniform(let d): try randomUniform(d)
    case .softmaxCrossEntropy(let d): try softmaxCrossEntropy(d)
    case .distillation(let d): try distillation(d)
    case .argMax(let d): try argMax(d)
    case .agreement(let d): try agreement(d)
    case .sum(let d): try sum(d)
    case .neighbourDistance(let d): try neighbourDistance(d)
    case .diversityLoss(let d): try diversityLoss(d)
    case .sgd(let d): try sgd(d)
    case .adam(let d): try adam(d)
    case .perturbWeights(let d): try perturbWeights(d)
    case .clipGradients(let d): try clipGradients(d)
    case .pgdStep(let d): try pgdStep(d)
    case .applyTrigger(let d): try applyTrigger(d)
    case .applyTriggerGradient(let d): try applyTriggerGradient(d)
    case .sliceRows(let d): try sliceRows(d)
    case .gatherImages(let d): try gatherImages(d)
    case .gatherIntegers(let d): try gatherIntegers(d)
    case .storeRows(let d): try storeRows(d)
    case .augment(let d): try augment(d)
    }
  }
}
