import Foundation
import Kernels

/// How a backend did in one case.
public struct ParityResult: Sendable {
  /// The case.
  public let name: String
  /// The largest |a-b|^2 / |b|^2 of its outputs.
  public let error: Double
  /// What is allowed.
  public let bound: Double
  /// What else is wrong: an error that was thrown, integers that differ, a rerun that differs, memory that was
  /// overwritten.
  public let failure: String?

  /// The case holds.
  public var passed: Bool { failure == nil && error <= bound }
  /// One line for people.
  public var description: String {
    let numbers = String(format: "error %.1e, bound %.1e", error, bound)
    return "\(passed ? "ok  " : "FAIL") \(name): \(numbers)\(failure.map { "; \($0)" } ?? "")"
  }
}

/// Runs the parity table on a backend.
public enum ParityRunner {
  /// Runs every case whose name contains `filter` (all when empty): the table, and the embedded golden cases; with
  /// `large` also the shapes of real batches, which take the reference some minutes. `progress` is called after each; throwing stops.
  public static func run(
    on backend: any Backend, filter: String = "", large: Bool = false,
    progress: (ParityResult) throws -> Void = { _ in }
  ) throws -> [ParityResult] {
    try (ParityTable.all + (large ? ParityTable.large : [])).filter {
      filter.isEmpty || $0.name.contains(filter)
    }
    .map { operatorCase in
      let result = run(operatorCase, on: backend)
      try progress(result)
      return result
    }
  }

  /// Runs one case.
  public static func run(_ operatorCase: OperatorCase, on backend: any Backend) -> ParityResult {
    do {
      let expected = try operatorCase.expected().outputs
      return compare(
        operatorCase, expected, try measure(operatorCase, on: backend), in: backend.device.precision)
    } catch {
      return ParityResult(
        name: operatorCase.name, error: .infinity, bound: operatorCase.bound(in: backend.device.precision),
        failure: "\(error)")
    }
  }

  /// Holds a backend's outputs against what they should be; its products round their inputs to `precision`.
  public static func compare(
    _ operatorCase: OperatorCase, _ expected: [CaseOutput], _ measured: Measurement,
    in precision: Precision = .fp32
  ) -> ParityResult {
    let bound = operatorCase.bound(in: precision)
    var worst = 0.0
    var failure = measured.failure
    for output in expected {
      let values = measured.outputs[output.position]
      let wanted = output.golden ?? output.values
      if output.isInteger {
        let different = zip(values, wanted).count { $0 != $1 }
        if different > 0 { failure = failure ?? "\(different) elements of \(output.label) differ" }
        continue
      }
      let error = normalisedError(values, wanted)
      if error > bound, error >= worst {
        failure = failure ?? "\(output.label) differs\(firstDifference(values, wanted))"
      }
      worst = max(worst, error)
    }
    return ParityResult(name: operatorCase.name, error: worst, bound: bound, failure: failure)
  }

  /// Where two results differ most, in words.
  private static func firstDifference(_ values: [Double], _ wanted: [Double]) -> String {
    let differences = zip(values, wanted).map { abs($0 - $1) }
    let wrong = differences.firstIndex { !$0.isFinite }
    guard let worst = wrong ?? differences.indices.max(by: { differences[$0] < differences[$1] }) else {
      return ""
    }
    return " (element \(worst) of \(values.count) is \(values[worst]), should be \(wanted[worst]))"
  }

  /// What a backend computed in a case.
  public struct Measurement: Sendable {
    /// The final contents of every tensor of the case, in logical order.
    public let outputs: [[Double]]
    /// A rerun differed, memory was overwritten: in words.
    public let failure: String?

    /// The contents of one of the case's outputs.
    public func values(of output: CaseOutput) -> [Double] { outputs[output.position] }
  }

  /// Runs a case's programs twice with the same inputs, and checks that both runs give the same bits, that inputs
  /// stay as they were, and that nothing beside the tensors was written.
  public static func measure(_ operatorCase: OperatorCase, on backend: any Backend) throws -> Measurement {
    var builder = CaseBuilder(name: operatorCase.name, backend: backend)
    operatorCase.build(&builder)
    if let failure = builder.failure { throw failure }
    let executables = try backend.compile(builder.programs)
    func runOnce() throws -> [[UInt32]] {
      for entry in builder.entries {
        try entry.guarded?.fill(backend)
        try write(entry.initial, to: entry.tensor, on: backend)
      }
      for step in builder.steps { try executables[step.program].run(step.parameters) }
      return try builder.entries.map { try bits(of: $0.tensor, on: backend) }
    }
    let first = try runOnce()
    let second = try runOnce()
    var failure: String?
    for (i, entry) in builder.entries.enumerated() {
      if first[i] != second[i] { failure = failure ?? "\(entry.label) differs from one run to the next" }
      let original = entry.initial.values.map { bits($0, entry.tensor.type) }
      if !builder.isWritten(entry.tensor), second[i] != original {
        failure = failure ?? "\(entry.label) is an input and was changed"
      }
      if let changed = try entry.guarded?.changedBytes(backend), changed > 0 {
        failure = failure ?? "\(changed) bytes beside \(entry.label) were overwritten"
      }
    }
    let outputs = zip(builder.entries, first).map { entry, words in
      words.map { number($0, entry.tensor.type) }
    }
    return Measurement(outputs: outputs, failure: failure)
  }

  // MARK: - Elements

  private static func write(_ values: ReferenceTensor, to tensor: Tensor, on backend: any Backend) throws {
    switch tensor.type {
    case .float32: try backend.write(values.values.map { Float($0) }, to: tensor)
    case .int32: try backend.write(values.values.map { Int32($0) }, to: tensor)
    case .uint8: try backend.write(values.values.map { UInt8($0) }, to: tensor)
    }
  }

  private static func bits(of tensor: Tensor, on backend: any Backend) throws -> [UInt32] {
    switch tensor.type {
    case .float32: try backend.read(tensor, as: Float.self).map(\.bitPattern)
    case .int32: try backend.read(tensor, as: Int32.self).map { UInt32(bitPattern: $0) }
    case .uint8: try backend.read(tensor, as: UInt8.self).map { UInt32($0) }
    }
  }

  private static func bits(_ value: Double, _ type: ElementType) -> UInt32 {
    type == .float32 ? Float(value).bitPattern : UInt32(bitPattern: Int32(value))
  }

  private static func number(_ bits: UInt32, _ type: ElementType) -> Double {
    type == .float32 ? Double(Float(bitPattern: bits)) : Double(Int32(bitPattern: bits))
  }
}
