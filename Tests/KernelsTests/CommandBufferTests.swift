import COpenCL
import Foundation
import Testing

@testable import Kernels

/// Recorded launches, and times by events, against launches that are enqueued one by one.
@Suite(.serialized) struct CommandBufferTests {
  private let device: OpenCLDevice

  init() throws { device = try OpenCLDevice.named("opencl:0") }

  private static let isAvailable = ConditionTrait.enabled(
    "not covered: command buffers (opencl:0 doesn't list them, or is missing)"
  ) { (try? OpenCLDevice.named("opencl:0")).flatMap { OpenCLCommandBuffers($0, environment: asked) } != nil }
  private static let asked = ["PBE_GPU_COMMAND_BUFFERS": "on"]

  /// Products whose arguments are constant, around an operator that takes the row offset of each run.
  private struct Job {
    let executable: OpenCLExecutable
    let tensors: [Tensor]
    let backend: OpenCLBackend

    init(_ device: OpenCLDevice, _ commandBuffers: OpenCLCommandBuffers?) throws {
      backend = try OpenCLBackend(device, tuning: nil) { _ in commandBuffers }
      let a = try backend.makeTensor((0..<64).map { Float($0 % 7) - 3 }, shape: Shape(8, 8))
      let b = try backend.makeTensor((0..<64).map { Float($0 % 5) - 2 }, shape: Shape(8, 8))
      let table = try backend.makeTensor(Shape(64, 8))
      let sum = try backend.makeTensor(.vector(1))
      var program = Program()
      let product = program.temporary(Shape(8, 8), role: .plain)
      let second = program.temporary(Shape(8, 8), role: .plain)
      program.append(.matrixProduct(MatrixProduct(a: program.bind(a), b: program.bind(b), output: product)))
      program.append(.matrixProduct(MatrixProduct(a: product, b: program.bind(b), output: second)))
      program.append(.storeRows(StoreRows(input: second, table: program.bind(table))))
      // Each run goes on from the one before.
      program.append(.copy(Copy(input: second, output: program.bind(b))))
      program.append(.sum(Sum(input: program.bind(b), output: program.bind(sum))))
      executable = try #require(try backend.compile([program])[0] as? OpenCLExecutable)
      tensors = [b, table, sum]
    }

    func results() throws -> [[UInt32]] {
      for step in 0..<3 { try executable.run(RunParameters(rowOffset: Int32(8 * step))) }
      return try tensors.map { try backend.read($0).map(\.bitPattern) }
    }
  }

  @Test(isAvailable) func sameBits() throws {
    let plain = try Job(device, nil)
    let recorded = try Job(device, OpenCLCommandBuffers(device, environment: Self.asked))
    #expect(recorded.executable.recordedCount >= 4)
    #expect(plain.executable.recordedCount == 0)
    let results = try plain.results()
    #expect(try recorded.results() == results)
    #expect(results[1].contains { $0 != 0 })
  }

  @Test(isAvailable) func theEnvironmentDecides() {
    #expect(OpenCLCommandBuffers(device, environment: ["PBE_GPU_COMMAND_BUFFERS": "off"]) == nil)
    // They gain nothing on PoCL.
    #expect((OpenCLCommandBuffers(device, environment: [:]) == nil) == device.limits.isCPU)
  }

  @Test(isAvailable) func refusalsFallBack() throws {
    let expected = try Job(device, nil).results()
    let working = try #require(
      OpenCLCommandBuffers(device, environment: Self.asked))
    var neverRecords = working
    neverRecords.functions.kernel = { _, _, _, _, _, _, _, _, _, _, _, _ in CL_INVALID_OPERATION }
    var neverFinalizes = working
    neverFinalizes.functions.finalize = { _ in CL_INVALID_OPERATION }
    for commandBuffers in [neverRecords, neverFinalizes] {
      let job = try Job(device, commandBuffers)
      #expect(job.executable.recordedCount == 0)
      #expect(try job.results() == expected)
    }
    var neverEnqueues = working
    neverEnqueues.functions.enqueue = { _, _, _, _, _, _ in CL_INVALID_OPERATION }
    let job = try Job(device, neverEnqueues)
    #expect(job.executable.recordedCount > 0)
    #expect(try job.results() == expected)
    #expect(job.executable.recordedCount == 0)
  }

  @Test func profilesDoTheSame() throws {
    let expected = try Job(device, nil).results()
    let job = try Job(device, nil)
    var seconds = 0.0
    let start = ContinuousClock.now
    for step in 0..<3 {
      let timings = try job.executable.profile(RunParameters(rowOffset: Int32(8 * step)))
      #expect(timings.contains { $0.kernel == "store_rows" && $0.operation == 2 })
      #expect(timings.allSatisfy { $0.seconds >= 0 && $0.variant.hasPrefix("-D") })
      seconds += timings.reduce(0) { $0 + $1.seconds }
    }
    #expect(seconds > 0 && seconds <= (ContinuousClock.now - start).seconds)
    #expect(try job.tensors.map { try job.backend.read($0).map(\.bitPattern) } == expected)
  }
}
