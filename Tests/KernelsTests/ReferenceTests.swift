import CKernels
import Foundation
import Testing

@testable import Kernels
@testable import Parity

/// The reference itself: against PyTorch's numbers, and in good order.
@Suite struct ReferenceTests {
  /// Results in the files are rounded once to float32 (6e-8, squared), and so are some inputs of the shared set.
  private let bound = 1e-13

  private func check(_ cases: [OperatorCase]) throws {
    for operatorCase in cases {
      let (outputs, nearKinks) = try operatorCase.expected()
      #expect(nearKinks == 0, "\(operatorCase.name)")
      #expect(outputs.contains { $0.golden != nil }, "\(operatorCase.name) has nothing to compare with")
      for output in outputs {
        guard let golden = output.golden else { continue }
        #expect(normalisedError(output.values, golden) <= bound, "\(operatorCase.name), \(output.label)")
      }
    }
  }

  @Test func embeddedGolden() throws {
    let set = try GoldenSet.embedded()
    let cases = try GoldenCases.cases(of: set, prefix: "golden")
    #expect(set.cases.count >= 30)
    #expect(cases.count == set.cases.count, "a case's operator is unknown")
    try check(cases)
  }

  @Test(SharedGolden.needed, arguments: ["conv2d", "layers"]) func sharedGolden(_ name: String) throws {
    let directory = try #require(SharedGolden.directory)
    let set = try GoldenSet(directory: directory, name: name)
    let cases = try GoldenCases.cases(of: set, prefix: "shared")
    #expect(cases.count == set.cases.count, "a case's operator is unknown")
    try check(cases)
  }

  /// The set that holds a network, for the tests of networks.
  @Test(SharedGolden.needed) func sharedNetwork() throws {
    let directory = try #require(SharedGolden.directory)
    let set = try GoldenSet(directory: directory, name: "preactresnet18_w8")
    let state = try set.golden("state")
    #expect(state.integer("classes") == 43)
    #expect(try state.tensor("layer4.0.conv1.weight").shape == [64, 32, 3, 3])
    #expect(try state.tensor("layer1.0.bn1.num_batches_tracked").isInteger)
    #expect(try set.golden("train").tensor("grad.linear.bias").values.count == 43)
    #expect(throws: PBEError.self) { try set.golden("none") }
    #expect(throws: PBEError.self) { try state.tensor("none") }
    #expect(throws: PBEError.self) { try GoldenSet(directory: directory, name: "none") }
  }

  @Test(arguments: [0, 7, 8, 100, 5000]) func cutGoldenFileIsRefused(_ length: Int) throws {
    let whole = Data(bytes: pbe_golden_tensors(), count: pbe_golden_tensors_length())
    let list = Data(bytes: pbe_golden_cases(), count: pbe_golden_cases_length())
    #expect(throws: PBEError.self) {
      try GoldenSet(name: "operators", safetensors: whole.prefix(length), cases: list)
    }
    #expect(throws: PBEError.self) {
      try GoldenSet(name: "operators", safetensors: whole, cases: list.prefix(length))
    }
    #expect(throws: PBEError.self) { try GoldenSet(name: "other", safetensors: whole, cases: list) }
  }

  /// The loss with smoothed labels as PyTorch puts it: the label's loss and the mean of all classes' losses, weighed.
  @Test func labelSmoothing() {
    let logits = ReferenceTensor(Shape(1, 4), [0.3, -1.2, 2.5, 0.1])
    func loss(_ label: Int, smoothing: Double = 0) -> Double {
      Reference.softmaxCrossEntropy(
        logits, labels: ReferenceTensor([Double(label)]), gradientScale: 1, smoothing: smoothing
      ).loss
    }
    let mean = (0..<4).map { loss($0) }.reduce(0, +) / 4
    for label in 0..<4 {
      #expect(abs(loss(label, smoothing: 0.1) - (0.9 * loss(label) + 0.1 * mean)) < 1e-14)
    }
    #expect(abs(loss(0) - loss(1)) > 1)
  }

  /// A student that answers as its teacher has nothing to learn from it; of labels alone it learns as anyone does.
  @Test func distillationOfEquals() {
    let logits = ReferenceTensor(Shape(2, 3), [0.3, -1.2, 2.5, 1, 0, -3])
    let teacher = ReferenceTensor(Shape(2, 3), [-1, 0.5, 0.25, 2, 2.5, 0])
    let labels = ReferenceTensor([2, 1])
    func distilled(_ teacher: ReferenceTensor, labelShare: Double) -> (loss: Double, gradient: [Double]) {
      let result = Reference.distillation(
        logits, teacher: teacher, labels: labels, gradientScale: 0.5, temperature: 4, labelShare: labelShare)
      #expect(result.correct == 1)
      return (result.loss, result.gradient.values)
    }
    let equal = distilled(logits, labelShare: 0)
    #expect(abs(equal.loss) < 1e-14 && equal.gradient.allSatisfy { abs($0) < 1e-14 })
    #expect(distilled(teacher, labelShare: 0).loss > 0.1)
    let labelled = Reference.softmaxCrossEntropy(logits, labels: labels, gradientScale: 0.5)
    let only = distilled(teacher, labelShare: 1)
    #expect(abs(only.loss - labelled.loss) < 1e-14)
    #expect(zip(only.gradient, labelled.gradient.values).allSatisfy { abs($0 - $1) < 1e-14 })
  }

  /// The perturbation is `radius` long, adaptive over the parameters' sizes, and no other of that length gains more.
  @Test(arguments: [false, true]) func perturbationOfWeights(_ adaptive: Bool) {
    let parameters = ReferenceTensor([0.5, -2, 1.5, -0.25])
    let gradients = ReferenceTensor([3, -1, 0.5, 2])
    let sizes = parameters.values.map { adaptive ? abs($0) : 1 }
    let moved = Reference.perturbWeights(
      parameters, gradients: gradients, radius: 0.3, adaptive: adaptive)
    let perturbation = zip(moved.values, parameters.values).map { $0 - $1 }
    let length = zip(perturbation, sizes).reduce(0) { $0 + $1.0 * $1.0 / ($1.1 * $1.1) }.squareRoot()
    #expect(abs(length - 0.3) < 1e-11)
    // Cauchy and Schwarz: the gain is at most the radius times the norm of the scaled gradient.
    let gain = zip(perturbation, gradients.values).reduce(0) { $0 + $1.0 * $1.1 }
    let most = 0.3 * zip(sizes, gradients.values).reduce(0) { $0 + $1.0 * $1.0 * $1.1 * $1.1 }.squareRoot()
    #expect(abs(gain - most) < 1e-11)
  }

  /// Clipped gradients have the length, and their direction still; short ones stay as they are.
  @Test func clippedGradients() {
    let gradients = ReferenceTensor([3, -4, 12])
    #expect(Reference.clipGradients(gradients, length: 13).values == gradients.values)
    let clipped = Reference.clipGradients(gradients, length: 6.5).values
    #expect(zip(clipped, [1.5, -2, 6]).allSatisfy { abs($0 - $1) < 1e-15 })
  }

  /// A name identifies a case: its inputs are drawn from it.
  @Test func namesAreUnique() {
    var names: Set<String> = []
    for operatorCase in ParityTable.all {
      #expect(names.insert(operatorCase.name).inserted, "\(operatorCase.name) appears twice")
    }
  }
}
