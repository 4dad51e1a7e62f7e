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

  /// Every operator has a row in the table.
  @Test func everyOperatorIsCovered() throws {
    let operators = [
      "convolution", "convolutionInputGradient", "convolutionFilterGradient", "channelSum", "matrixProduct",
      "batchNormStatistics", "batchNormFold", "affineActivation", "affineActivationGradient", "pool",
      "poolGradient", "resize", "resizeGradient", "gridSample", "add", "multiply", "dropout", "fill", "copy",
      "randomUniform",
      "softmaxCrossEntropy", "distillation", "argMax", "agreement", "sum", "sgd", "adam", "perturbWeights",
      "clipGradients", "pgdStep",
      "applyTrigger",
      "applyTriggerGradient", "neighbourDistance", "diversityLoss",
      "sliceRows",
      "gatherImages", "gatherIntegers", "storeRows", "augment",
      // Both gradients of batch norm.
      "batchNormGradient",
    ]
    for name in operators + ["chain", "golden"] {
      #expect(ParityTable.groups[name]?.isEmpty == false, "\(name) has no case")
    }
  }
}
