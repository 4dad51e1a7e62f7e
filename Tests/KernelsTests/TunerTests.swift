import Foundation
import Synchronization
import Testing

@testable import Kernels

/// The tuner, with candidates that it must not choose put in its way.
@Suite(.serialized) struct TunerTests {
  private let device: OpenCLDevice
  private static let family = ProductFamily.convolution3x3Narrow

  init() throws { device = try OpenCLDevice.named("opencl:0") }

  /// Distinguished from others by `tileM`.
  private static func candidate(_ tileM: Int) -> ProductParameters {
    ProductParameters(algorithm: .tiled, tileM: tileM)
  }

  /// One small layer, and what `behave` makes of each candidate's program.
  private func tuner(
    _ tileMs: [Int], behave: @escaping @Sendable (ProductParameters, inout Kernels.Program) throws -> Void
  ) -> OpenCLTuner {
    var tuner = OpenCLTuner(device, seconds: 600)
    tuner.workloads = [
      TuningWorkload(form: .convolution, batch: 2, inputs: 16, outputs: 16, extent: 16, kernel: 3)
    ]
    tuner.candidates = { _ in tileMs.map(Self.candidate) }
    tuner.compile = { backend, program, tuning in
      var program = program
      try behave(tuning.parameters(Self.family), &program)
      // Whatever the parameters are called, the kernels are those that are known to be right.
      return CountedExecutable(try backend.compile([program])[0], operations: program.operations.count)
    }
    tuner.stopwatch = CountedExecutable.stopwatch
    return tuner
  }

  /// Does the work of a program many times over.
  private static func slowDown(_ program: inout Kernels.Program) {
    for operation in Array(repeating: program.operations, count: 30).joined() { program.append(operation) }
  }

  /// Spoils a program's result.
  private static func spoil(_ program: inout Kernels.Program, _ value: Float) {
    guard let output = program.operations.first?.descriptor.writes.first else { return }
    program.append(.fill(Fill(output: output, value: value)))
  }

  @Test func layersBelongToEveryFamily() {
    let families = TuningWorkload.all(batch: 2).map(\.family)
    #expect(Set(families) == Set(ProductFamily.allCases))
  }

  @Test func wrongAndFailingCandidatesAreDiscarded() throws {
    let tuner = tuner([8, 16, 32, 64, 128]) { parameters, program in
      switch parameters.tileM {
      case _ where parameters.algorithm == .registers: Self.slowDown(&program)
      case 8: Self.spoil(&program, 0.25)
      case 16: Self.spoil(&program, .nan)
      case 32: throw PBEError(.device, "the driver can't compile it")
      // Leaves the output as it was.
      case 64: program = Kernels.Program()
      default: break
      }
    }
    let findings = try tuner.run(journal: nil) { _, _ in }
    let finding = try #require(findings.first)
    #expect(findings.count == 1 && finding.family == Self.family)
    #expect(finding.chosen == Self.candidate(128))
    #expect(finding.speedUp > 3)
    #expect(try #require(finding.error) < 1e-5)
    #expect(finding.tried == 6)
    #expect(finding.discarded.count == 4)
    #expect(finding.discarded.filter { $0.contains("wrong") }.count == 3)
    #expect(finding.discarded.contains { $0.contains("can't compile") })
  }

  @Test func theStandardStaysWhereNothingIsFaster() throws {
    let tuner = tuner([16, 32]) { parameters, program in
      if parameters.algorithm != .registers { Self.slowDown(&program) }
    }
    let finding = try #require(try tuner.run(journal: nil) { _, _ in }.first)
    #expect(finding.chosen == finding.standard && finding.speedUp == 1)
    #expect(finding.error != nil && finding.discarded.isEmpty)
  }

  @Test func aWrongStandardIsReplaced() throws {
    let tuner = tuner([16]) { parameters, program in
      if parameters.algorithm == .registers { Self.spoil(&program, 1) } else { Self.slowDown(&program) }
    }
    let finding = try #require(try tuner.run(journal: nil) { _, _ in }.first)
    #expect(finding.chosen == Self.candidate(16) && finding.error != nil)
  }

  @Test func nothingRight() throws {
    let tuner = tuner([16]) { _, program in Self.spoil(&program, 1) }
    let finding = try #require(try tuner.run(journal: nil) { _, _ in }.first)
    #expect(finding.chosen == finding.standard && finding.error == nil && finding.discarded.count == 2)
  }

  @Test func whatEndedAnEarlierRunIsNotTriedAgain() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tuner \(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("v1.json")
    struct Killed: Error {}
    // The name that the journal knows the candidate by, as a process that is killed leaves it. A winner is built once
    // more, when it has proven harmless.
    let spied = tuner([16]) { parameters, _ in
      guard parameters.algorithm != .registers,
        !FileManager.default.fileExists(atPath: folder.appendingPathComponent("left").path)
      else { return }
      let journal = try String(contentsOf: file.appendingPathExtension("lock"), encoding: .utf8)
      try journal.write(to: folder.appendingPathComponent("left"), atomically: true, encoding: .utf8)
    }
    _ = try spied.run(journal: TuningJournal(beside: file, patience: 0)) { _, _ in }
    let left = try String(contentsOf: folder.appendingPathComponent("left"), encoding: .utf8)
    #expect(left.contains("TILE_M=16"))
    #expect(try Data(contentsOf: file.appendingPathExtension("lock")).isEmpty)

    try left.write(to: file.appendingPathExtension("lock"), atomically: true, encoding: .utf8)
    let journal = try TuningJournal(beside: file, patience: 0)
    #expect(journal.suspects == [left.trimmingCharacters(in: .newlines)])
    let tuner = tuner([16]) { parameters, _ in
      if parameters.algorithm != .registers { throw Killed() }
    }
    let finding = try #require(try tuner.run(journal: journal) { _, _ in }.first)
    #expect(finding.tried == 1 && finding.discarded.count == 1)
    #expect(finding.discarded.first?.contains("earlier run") ?? false)
  }

  /// What any use of the device needs is given up when it ended two runs, and what runs everywhere takes its place.
  @Test func aStandardThatEndedEarlierRuns() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tuner \(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("v1.json")
    let lock = file.appendingPathExtension("lock")
    // Of every program that is built, whether the journal names it, as a process that is killed would leave it there.
    let named = Mutex<[(isTiled: Bool, journal: String)]>([])
    var tuner = tuner([16]) { parameters, _ in
      let journal = try String(contentsOf: lock, encoding: .utf8)
      named.withLock { $0.append((parameters.algorithm == .tiled, journal)) }
    }
    tuner.environment = ["PBE_GPU_KERNELS": "tiled"]
    tuner.candidates = { _ in [ProductParameters(algorithm: .registers)] }
    func run() throws -> (OpenCLTuner.Finding, [(isTiled: Bool, journal: String)]) {
      named.withLock { $0 = [] }
      let finding = try #require(
        try tuner.run(journal: TuningJournal(beside: file, patience: 0)) { _, _ in }.first)
      return (finding, named.withLock { $0 })
    }
    let (first, built) = try run()
    #expect(first.standard.algorithm == .tiled && first.tried == 2)
    let name = try #require(built.first?.journal.split(separator: "\n").first.map(String.init))
    #expect(name.contains("tiled") && built.first?.isTiled == true, "while it warms up, too")
    // Once may have been an accident; when it comes back that is forgotten.
    try (name + "\n").write(to: lock, atomically: false, encoding: .utf8)
    let (second, _) = try run()
    #expect(second.tried == 2 && second.discarded.isEmpty)
    #expect(try Data(contentsOf: lock).isEmpty)
    try (name + "\n" + name + "\n").write(to: lock, atomically: false, encoding: .utf8)
    let (third, others) = try run()
    #expect(third.chosen.algorithm == .registers && third.error != nil && third.tried == 1)
    #expect(third.discarded.first?.contains("earlier run") == true && !others.contains(where: \.isTiled))
    // Also where nothing else is right.
    tuner = self.tuner([]) { _, program in Self.spoil(&program, 1) }
    tuner.candidates = { _ in [ProductParameters(algorithm: .registers)] }
    tuner.environment = ["PBE_GPU_KERNELS": "tiled"]
    let (nothing, _) = try run()
    #expect(nothing.chosen.algorithm == .registers && nothing.error == nil && nothing.tried == 1)
  }

  @Test func stopsWhenAsked() throws {
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      _ = try tuner([16]) { _, _ in }.run(journal: nil) { _, _ in throw Stop() }
    }
  }

  @Test func errorsAreRelative() {
    #expect(TuningBench.relativeError([3, 4], [3, 4]) == 0)
    #expect(abs(TuningBench.relativeError([3, 4.5], [3, 4]) - 0.1) < 1e-9)
    #expect(TuningBench.relativeError([3, .nan], [3, 4]) == .infinity)
    #expect(TuningBench.relativeError([0], [0]) == .infinity)
  }
}
