import Kernels
import Parity
import Testing

/// The runner notices what backends do wrong.
@Suite struct RunnerTests {
  private func results(_ fault: InterpretingBackend.Fault) throws -> [ParityResult] {
    let backend = InterpretingBackend(fault: fault)
    return try ["add/2x3x5x7", "chain/two", "sgd/1x1x1x1, momentum 0.9 decay 0.0005"].flatMap {
      try ParityRunner.run(on: backend, filter: $0)
    }
  }

  @Test func soundBackendPasses() throws {
    let results = try results(.none)
    #expect(results.count == 5)
    for result in results { #expect(result.passed, "\(result.description)") }
  }

  @Test(arguments: InterpretingBackend.Fault.allCases.filter { $0 != .none })
  func faultIsNoticed(_ fault: InterpretingBackend.Fault) throws {
    let results = try results(fault)
    #expect(results.count == 5)
    for result in results where !(fault == .changesInput && result.name.hasPrefix("chain")) {
      #expect(!result.passed, "\(fault): \(result.description)")
      #expect(result.failure != nil, "\(fault): \(result.description)")
    }
    #expect(results.contains { !$0.passed })
  }

  @Test func filterAndProgress() throws {
    var seen: [String] = []
    let results = try ParityRunner.run(on: InterpretingBackend(), filter: "argMax/") { seen.append($0.name) }
    #expect(seen == results.map(\.name))
    #expect(seen.count == 7)
    #expect(try ParityRunner.run(on: InterpretingBackend(), filter: "no such case").isEmpty)
  }

  @Test func errorMeasure() throws {
    #expect(normalisedError([1, 2], [1, 2]) == 0)
    #expect(normalisedError([1.1], [1]) > 0.009 && normalisedError([1.1], [1]) < 0.011)
    #expect(normalisedError([.nan], [1]) == .infinity)
    #expect(normalisedError([.infinity], [1]) == .infinity)
    #expect(normalisedError([1], [1, 2]) == .infinity)
    #expect(normalisedError([0.5], [0]) == 0.25)
  }

  /// Every operator is in a program of the table, and has cases that are named after it.
  @Test func everyOperatorIsCovered() throws {
    let used = Set(ParityTable.operators.flatMap { $0.operations.map(OperatorName.init) })
    for name in OperatorName.allCases {
      #expect(used.contains(name), "no program has \(name)")
      #expect(ParityTable.groups[name.group]?.isEmpty == false, "no case is named after \(name)")
    }
    for group in ["chain", "golden"] { #expect(ParityTable.groups[group]?.isEmpty == false, "no \(group)") }
  }
}

/// The operators. A new one fails to compile here until it is named, and then the test fails until it has a case.
private enum OperatorName: CaseIterable {
  case convolution, convolutionInputGradient, convolutionFilterGradient, channelSum, matrixProduct
  case batchNormStatistics, batchNormFold, affineActivation, affineActivationGradient
  case batchNormParameterGradient, batchNormInputGradient, pool, poolGradient, resize
  case resizeGradient, gridSample, add, multiply, dropout, fill, copy, randomUniform
  case softmaxCrossEntropy, distillation, argMax, agreement, sum, neighbourDistance, diversityLoss
  case sgd, adam, perturbWeights, clipGradients, pgdStep, applyTrigger, applyTriggerGradient
  case sliceRows, gatherImages, gatherIntegers, storeRows, augment

  init(_ operation: Kernels.Operation) {
    self =
      switch operation {
      case .convolution: .convolution
      case .convolutionInputGradient: .convolutionInputGradient
      case .convolutionFilterGradient: .convolutionFilterGradient
      case .channelSum: .channelSum
      case .matrixProduct: .matrixProduct
      case .batchNormStatistics: .batchNormStatistics
      case .batchNormFold: .batchNormFold
      case .affineActivation: .affineActivation
      case .affineActivationGradient: .affineActivationGradient
      case .batchNormParameterGradient: .batchNormParameterGradient
      case .batchNormInputGradient: .batchNormInputGradient
      case .pool: .pool
      case .poolGradient: .poolGradient
      case .resize: .resize
      case .resizeGradient: .resizeGradient
      case .gridSample: .gridSample
      case .add: .add
      case .multiply: .multiply
      case .dropout: .dropout
      case .fill: .fill
      case .copy: .copy
      case .randomUniform: .randomUniform
      case .softmaxCrossEntropy: .softmaxCrossEntropy
      case .distillation: .distillation
      case .argMax: .argMax
      case .agreement: .agreement
      case .sum: .sum
      case .neighbourDistance: .neighbourDistance
      case .diversityLoss: .diversityLoss
      case .sgd: .sgd
      case .adam: .adam
      case .perturbWeights: .perturbWeights
      case .clipGradients: .clipGradients
      case .pgdStep: .pgdStep
      case .applyTrigger: .applyTrigger
      case .applyTriggerGradient: .applyTriggerGradient
      case .sliceRows: .sliceRows
      case .gatherImages: .gatherImages
      case .gatherIntegers: .gatherIntegers
      case .storeRows: .storeRows
      case .augment: .augment
      }
  }

  /// What the names of its cases begin with: those of batch norm's gradients do both.
  var group: String {
    switch self {
    case .batchNormParameterGradient, .batchNormInputGradient: "batchNormGradient"
    default: "\(self)"
    }
  }
}
