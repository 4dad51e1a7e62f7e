import Kernels

/// One row of the parity table: programs with their inputs, and how near a backend has to come to the reference.
public struct OperatorCase: Sendable {
  /// `operator/what is special`; the inputs are drawn from it.
  public let name: String
  /// The largest allowed |a-b|^2 / |b|^2 of every floating-point output. Integers have to be equal.
  public let bound: Double
  let build: @Sendable (inout CaseBuilder) -> Void

  /// Sums in single precision of up to some thousand products; Winograd F(4x4) stays well below it
  /// (errors of 2e-6 of the norm, squared).
  public static let sumBound = 1e-10
  /// Elementwise arithmetic: some roundings of 6e-8 each, squared.
  public static let elementwiseBound = 1e-12

  /// Creates a case; `build` adds tensors and programs.
  public init(
    _ name: String, bound: Double = sumBound, build: @escaping @Sendable (inout CaseBuilder) -> Void
  ) {
    self.name = name
    self.bound = bound
    self.build = build
  }

  /// The bound for a device whose products round their inputs. Both inputs of a product are off by at most the
  /// roundoff u, so it is by 2u + u^2 (its terms are of random signs, and so are their errors); and a result may be
  /// the next product's input.
  public func bound(in precision: Precision) -> Double {
    guard precision != .fp32 else { return bound }
    let products = operations.count(where: \.isProduct)
    let error = Double(products) * (2 * precision.roundoff + precision.roundoff * precision.roundoff)
    return bound + error * error
  }

  /// The operators of its programs.
  public var operations: [Operation] {
    var builder = CaseBuilder(name: name, backend: nil)
    build(&builder)
    return builder.programs.flatMap(\.operations)
  }

  /// The same case with inputs that `precision` has exactly.
  public func exact(in precision: Precision) -> OperatorCase {
    OperatorCase("\(name), \(precision.rawValue) inputs", bound: bound) { builder in
      builder.precision = precision
      build(&builder)
    }
  }

  /// What the reference computes: the outputs in the order of creation, and how many elements were too close to a
  /// jump of their operator to compare (``ReferenceMachine/nearKinks``).
  ///
  /// Throws `internal` when the case is itself wrong: an output is not fully written or not finite.
  public func expected() throws -> (outputs: [CaseOutput], nearKinks: Int) {
    var builder = CaseBuilder(name: name, backend: nil)
    build(&builder)
    var machine = ReferenceMachine()
    for entry in builder.entries { machine.tensors[ObjectIdentifier(entry.tensor)] = entry.initial }
    for step in builder.steps { machine.run(builder.programs[step.program], step.parameters) }
    var outputs: [CaseOutput] = []
    for (position, entry) in builder.entries.enumerated() where builder.isWritten(entry.tensor) {
      guard let result = machine.tensors[ObjectIdentifier(entry.tensor)],
        result.values.allSatisfy(\.isFinite)
      else {
        throw PBEError(.internal, "the reference leaves an output undefined", at: "\(name), \(entry.label)")
      }
      outputs.append(
        CaseOutput(
          position: position, label: entry.label, isInteger: entry.tensor.type != .float32,
          values: result.values,
          golden: builder.expectations[position]))
    }
    guard !outputs.isEmpty else { throw PBEError(.internal, "the case has no output", at: name) }
    return (outputs, machine.nearKinks)
  }
}

/// What one output of a case should be.
public struct CaseOutput: Sendable {
  /// The output's place among the case's tensors.
  let position: Int
  /// The output's name.
  public let label: String
  /// Integers have to be equal.
  public let isInteger: Bool
  /// What the reference computes, in logical order.
  public let values: [Double]
  /// What the golden file says, for golden cases; backends are held against it instead of the reference.
  public let golden: [Double]?
}

/// |a-b|^2 / |b|^2 of a result `a` and what it should be, `b`; infinite when a value is not finite; |a|^2 where all
/// of `b` is zero.
public func normalisedError(_ a: [Double], _ b: [Double]) -> Double {
  guard a.count == b.count else { return .infinity }
  var (difference, norm) = (0.0, 0.0)
  for (x, y) in zip(a, b) {
    difference += (x - y) * (x - y)
    norm += y * y
  }
  let error = norm > 0 ? difference / norm : difference
  return error.isFinite ? error : .infinity
}

extension Operation {
  /// It multiplies two inputs that a ``Precision`` rounds.
  fileprivate var isProduct: Bool {
    switch self {
    case .convolution, .convolutionInputGradient, .convolutionFilterGradient, .matrixProduct: true
    default: false
    }
  }
}
