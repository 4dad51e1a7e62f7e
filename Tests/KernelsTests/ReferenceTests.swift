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

  @Test(arguments: ["conv2d", "layers"]) func sharedGolden(_ name: String) throws {
    guard let directory = SharedGolden.directory else {
      print("not covered: the shared golden set \(name) (no ../shared/golden and no PBE_SHARED)")
      return
    }
    let set = try GoldenSet(directory: directory, name: name)
    let cases = try GoldenCases.cases(of: set, prefix: "shared")
    #expect(cases.count == set.cases.count, "a case's operator is unknown")
    try check(cases)
  }

  /// A name identifies a case: its inputs are drawn from it.
  @Test func namesAreUnique() {
    var names: Set<String> = []
    for operatorCase in ParityTable.all {
      #expect(names.insert(operatorCase.name).inserted, "\(operatorCase.name) appears twice")
    }
  }
}
