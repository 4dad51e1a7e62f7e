/// A tensor inside a ``Program``: a temporary, or a ``Tensor`` bound to it.
public struct Value: Hashable, Sendable {
  /// The position in ``Program/values``.
  public let index: Int
}

/// One operator with its operands and attributes: the narrow waist between what is computed (PBE) and how (a
/// backend). A backend implements every case; adding a case makes both backends fail to compile until they do.
///
/// Every descriptor lists what it reads and writes, from which the ``MemoryPlan`` places the temporaries. An operand
/// that is accumulated into is in both lists.
public enum Operation: Sendable {
  // Convolution and matrix product
  case convolution(Convolution)
  case convolutionInputGradient(ConvolutionInputGradient)
  case convolutionFilterGradient(ConvolutionFilterGradient)
  case channelSum(ChannelSum)
  case matrixProduct(MatrixProduct)
  // Normalisation and activation
  case batchNormStatistics(BatchNormStatistics)
  case batchNormFold(BatchNormFold)
  case affineActivation(AffineActivation)
  case affineActivationGradient(AffineActivationGradient)
  case batchNormParameterGradient(BatchNormParameterGradient)
  case batchNormInputGradient(BatchNormInputGradient)
  // Pooling, resampling, elementwise
  case pool(Pool)
  case poolGradient(PoolGradient)
  case resize(Resize)
  case resizeGradient(ResizeGradient)
  case gridSample(GridSample)
  case add(Add)
  case multiply(Multiply)
  case dropout(Dropout)
  case fill(Fill)
  case copy(Copy)
  case randomUniform(RandomUniform)
  // Loss, scores, reductions
  case softmaxCrossEntropy(SoftmaxCrossEntropy)
  case distillation(Distillation)
  case argMax(ArgMax)
  case agreement(Agreement)
  case sum(Sum)
  case neighbourDistance(NeighbourDistance)
  case diversityLoss(DiversityLoss)
  // Optimizers and attacks
  case sgd(SGD)
  case adam(Adam)
  case perturbWeights(PerturbWeights)
  case clipGradients(ClipGradients)
  case pgdStep(PGDStep)
  case applyTrigger(ApplyTrigger)
  case applyTriggerGradient(ApplyTriggerGradient)
  // Data
  case sliceRows(SliceRows)
  case gatherImages(GatherImages)
  case gatherIntegers(GatherIntegers)
  case storeRows(StoreRows)
  case augment(Augment)

  /// The operator's operands.
  public var descriptor: any OperationDescriptor {
    switch self {
    case .convolution(let d): d
    case .convolutionInputGradient(let d): d
    case .convolutionFilterGradient(let d): d
    case .channelSum(let d): d
    case .matrixProduct(let d): d
    case .batchNormStatistics(let d): d
    case .batchNormFold(let d): d
    case .affineActivation(let d): d
    case .affineActivationGradient(let d): d
    case .batchNormParameterGradient(let d): d
    case .batchNormInputGradient(let d): d
    case .pool(let d): d
    case .poolGradient(let d): d
    case .resize(let d): d
    case .resizeGradient(let d): d
    case .gridSample(let d): d
    case .add(let d): d
    case .multiply(let d): d
    case .dropout(let d): d
    case .fill(let d): d
    case .copy(let d): d
    case .randomUniform(let d): d
    case .softmaxCrossEntropy(let d): d
    case .distillation(let d): d
    case .argMax(let d): d
    case .agreement(let d): d
    case .sum(let d): d
    case .neighbourDistance(let d): d
    case .diversityLoss(let d): d
    case .sgd(let d): d
    case .adam(let d): d
    case .perturbWeights(let d): d
    case .clipGradients(let d): d
    case .pgdStep(let d): d
    case .applyTrigger(let d): d
    case .applyTriggerGradient(let d): d
    case .sliceRows(let d): d
    case .gatherImages(let d): d
    case .gatherIntegers(let d): d
    case .storeRows(let d): d
    case .augment(let d): d
    }
  }
}

/// What an operator reads and writes.
public protocol OperationDescriptor: Sendable {
  /// The operands whose contents matter before the operator runs.
  var reads: [Value] { get }
  /// The operands whose contents change.
  var writes: [Value] { get }
}

/// The numbers that change from one run of an ``Executable`` to the next, passed without any transfer.
public struct RunParameters: Sendable {
  /// The first row of the index list that this batch takes (``SliceRows``), or writes (``StoreRows``).
  public var rowOffset: Int32
  /// The epoch: a word of the random numbers' counter.
  public var epoch: UInt32
  /// The step, from 1: Adam's bias correction, and the batch-level random numbers of ``Augment``.
  public var step: UInt32
  /// The learning rate of ``SGD`` and ``Adam``.
  public var learningRate: Float

  /// Creates the parameters of one run.
  public init(rowOffset: Int32 = 0, epoch: UInt32 = 0, step: UInt32 = 1, learningRate: Float = 0) {
    self.rowOffset = rowOffset
    self.epoch = epoch
    self.step = step
    self.learningRate = learningRate
  }
}
