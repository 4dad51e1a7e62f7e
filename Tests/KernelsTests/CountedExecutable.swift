@testable import Kernels

/// A program that takes as long as it has operators, however busy the machine is.
final class CountedExecutable: Executable {
  private let program: any Executable
  private let operations: Int

  init(_ program: any Executable, operations: Int) {
    self.program = program
    self.operations = operations
  }

  var arenaByteCount: Int { program.arenaByteCount }

  func run(_ parameters: RunParameters) throws { try program.run(parameters) }

  func profile(_ parameters: RunParameters) throws -> [KernelTiming] { try program.profile(parameters) }

  /// The time of one run: a millisecond per operator.
  static let stopwatch: TuningBench.Stopwatch = { executable, work in
    try work()
    return Double((executable as? CountedExecutable)?.operations ?? 0) * 1e-3
  }
}
