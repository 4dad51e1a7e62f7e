import Foundation

/// One family's layers on a device: checks and times candidates on them.
final class TuningBench {
  /// Turns a program into an executable with a tuning; tests put others in its place.
  typealias Compile = @Sendable (OpenCLBackend, Program, OpenCLTuning) throws -> any Executable

  /// Does some work of an executable and returns its seconds; tests put others in its place.
  typealias Stopwatch = @Sendable (any Executable, () throws -> Void) throws -> Double

  /// What became of a candidate.
  enum Verdict {
    /// It is right: seconds per layer, and the largest relative error.
    case right(seconds: [Double], error: Double)
    /// It is right as far as it was looked at, but not worth more time.
    case slow
    /// Its results are wrong: how.
    case wrong(String)
    /// It can't be built or run.
    case failed(any Error)
  }

  /// One layer.
  private struct Layer {
    var prepared: TuningWorkload.Prepared
    /// The CPU backend's result.
    var expected: [Float]
    /// Spoils the output, so that elements that a kernel leaves out show.
    var spoil: any Executable
  }

  private let backend: OpenCLBackend
  private let layers: [Layer]
  private let compile: Compile
  private let stopwatch: Stopwatch
  /// The largest relative error, of the norm, that is rounding.
  private let tolerance: Double
  /// Timed repetitions of a candidate.
  private let samples: Int

  /// Prepares the layers. Throws when the device or the CPU can't.
  init(
    _ workloads: [TuningWorkload], on backend: OpenCLBackend, expected: [[Float]], tolerance: Double,
    samples: Int, compile: @escaping Compile, stopwatch: @escaping Stopwatch
  ) throws {
    self.backend = backend
    self.compile = compile
    self.stopwatch = stopwatch
    self.tolerance = tolerance
    self.samples = samples
    layers = try zip(workloads, expected).map { workload, expected in
      let prepared = try workload.prepare(on: backend)
      var spoil = Program()
      spoil.append(.fill(Fill(output: spoil.bind(prepared.output), value: .nan)))
      return Layer(prepared: prepared, expected: expected, spoil: try backend.compile([spoil])[0])
    }
  }

  /// The CPU backend's results of layers: what the device's are held against, since no kernel of the device is known to
  /// be right.
  static func expected(_ workloads: [TuningWorkload]) throws -> [[Float]] {
    let cpu = try CPUBackend()
    return try workloads.map { workload in
      let prepared = try workload.prepare(on: cpu)
      try cpu.compile([prepared.program])[0].run(RunParameters())
      return try TuningWorkload.elements(of: prepared.output, on: cpu)
    }
  }

  /// Builds, checks and times. A layer that takes three times as long as `best` says ends it, and so does the deadline
  /// between two layers.
  func judge(
    _ tuning: OpenCLTuning, best: [Double]?, deadline: ContinuousClock.Instant? = nil
  ) -> Verdict {
    var seconds: [Double] = []
    var worst = 0.0
    do {
      for (index, layer) in layers.enumerated() {
        if let deadline, ContinuousClock.now > deadline { return .slow }
        let executable = try compile(backend, layer.prepared.program, tuning)
        try layer.spoil.run(RunParameters())
        try executable.run(RunParameters())
        let error = Self.relativeError(
          try TuningWorkload.elements(of: layer.prepared.output, on: backend), layer.expected)
        guard error <= tolerance else {
          return .wrong(
            error.isFinite ? "relative error \(String(format: "%.1e", error))" : "not numbers")
        }
        worst = max(worst, error)
        var once = try time(executable, runs: 1)
        if let best, once > 3 * best[index] {
          // Something else may have kept the machine busy.
          once = min(once, try time(executable, runs: 1), try time(executable, runs: 1))
          if once > 3 * best[index] { return .slow }
        }
        seconds.append(try median(executable, once))
      }
    } catch {
      return .failed(error)
    }
    return .right(seconds: seconds, error: worst)
  }

  /// The geometric mean of how much faster `tuning` is than `other`, both timed in turn, so that a clock that changes
  /// changes both.
  func speedUp(of tuning: OpenCLTuning, over other: OpenCLTuning) throws -> Double {
    var logarithm = 0.0
    for layer in layers {
      let pair = try [tuning, other].map { try compile(backend, layer.prepared.program, $0) }
      let once = try pair.map { executable in
        try executable.run(RunParameters())
        return try time(executable, runs: 1)
      }
      var ratios: [Double] = []
      for _ in 0..<samples {
        let times = try zip(pair, once).map { try time($0, runs: Self.runs($1)) }
        ratios.append(times[1] / times[0])
      }
      logarithm += log(ratios.median)
    }
    return exp(logarithm / Double(max(1, layers.count)))
  }

  /// Keeps the device busy, so that its clock has risen before the first time is taken.
  func warmUp(_ tuning: OpenCLTuning, seconds: Double) throws {
    guard let layer = layers.first else { return }
    let executable = try compile(backend, layer.prepared.program, tuning)
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end { _ = try time(executable, runs: 4) }
  }

  private func median(_ executable: any Executable, _ once: Double) throws -> Double {
    let runs = Self.runs(once)
    return try (0..<samples).map { _ in try time(executable, runs: runs) }.median
  }

  /// How many runs in a row outlast the start and the end of a measurement.
  private static func runs(_ once: Double) -> Int { min(64, max(1, Int(0.003 / max(once, 1e-9)))) }

  /// Seconds per run of several in a row.
  private func time(_ executable: any Executable, runs: Int) throws -> Double {
    let seconds = try stopwatch(executable) {
      for _ in 0..<runs { try executable.run(RunParameters()) }
      try backend.synchronize()
    }
    return max(1e-9, seconds / Double(runs))
  }

  /// `|a - b| / |b|`; infinite when an element is no number, or all of `b` are zero, which would show nothing.
  static func relativeError(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    var difference = 0.0
    var norm = 0.0
    for (x, y) in zip(a, b) {
      let d = Double(x) - Double(y)
      difference += d * d
      norm += Double(y) * Double(y)
    }
    return difference.isFinite && norm > 0 ? (difference / norm).squareRoot() : .infinity
  }
}
