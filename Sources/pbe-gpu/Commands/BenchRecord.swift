import Foundation
import Kernels
import PBE

/// What `bench` measured.
struct BenchRecord: Codable {
  /// `precision` is missing in results from before there was a choice: fp32.
  var device: String, precision: Precision?, architecture: String, width: Int, batch: Int
  /// Median seconds per step.
  var infer: Double, pgd: Double, train: Double
  var loss: Double
  /// Of direct convolutions: fast algorithms can exceed the machine's peak.
  var gflops: [String: Double]
  var peakMib: Int
  var profile: [BenchProfile]?

  private var seconds: [(name: String, value: Double)] {
    [("infer", infer), ("pgd", pgd), ("train", train)]
  }

  func printTable() throws {
    try Output.table(
      [["step", "seconds", "GFLOP/s (of direct convolutions)"]]
        + seconds.map {
          [$0.name, String(format: "%.4f", $0.value), String(format: "%.0f", gflops[$0.name] ?? 0)]
        })
    try Output.line("peak memory \(peakMib) MiB; loss of the last training step \(loss)")
    for profile in profile ?? [] { try profile.printTable() }
  }

  /// Prints the ratios to a stored result. Throws `device` when a step is more than `tolerance` per cent slower.
  func compare(with stored: BenchRecord, tolerance: Double, quiet: Bool) throws {
    guard
      (stored.device, stored.architecture, stored.width, stored.batch) == (
        device, architecture, width, batch
      ),
      stored.precision ?? .fp32 == precision ?? .fp32
    else {
      throw PBEError(
        .usage,
        "the stored result is of \(stored.architecture), width \(stored.width), batch \(stored.batch) on \(stored.device) in \((stored.precision ?? .fp32).rawValue)",
        at: "--compare", remedy: "use the same options as for the stored result")
    }
    let ratios = zip(stored.seconds, seconds).map { ($1.name, $1.value / $0.value) }
    if !quiet {
      try Output.line("time against the stored result:")
      try Output.table(ratios.map { [$0, String(format: "%.2f", $1)] })
    }
    let slower = ratios.filter { $0.1 > 1 + tolerance / 100 }
    guard slower.isEmpty else {
      throw PBEError(
        .device,
        "slower than the stored result: "
          + slower.map { "\($0) by \(String(format: "%.0f", 100 * ($1 - 1)))%" }.joined(separator: ", "),
        remedy: "repeat on an idle machine with more --repeats; then look at --profile")
    }
  }

  /// The largest resident size of the process so far.
  static var peakMebibytes: Int {
    var usage = rusage()
    #if os(macOS)
      getrusage(RUSAGE_SELF, &usage)
      return Int(usage.ru_maxrss) >> 20
    #else
      getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
      return Int(usage.ru_maxrss) >> 10
    #endif
  }
}

extension BenchRecord {
  /// Reads what `bench --json` printed. Throws `missingInput` or `badData` for a file that is not that.
  init(contentsOf path: String) throws {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let remedy = "make one with `pbe-gpu bench --json`"
    let data = Data(try InputFile.read(path, limit: 1 << 24, remedy: remedy))
    do { self = try decoder.decode(BenchRecord.self, from: data) } catch {
      throw PBEError(
        .badData, "this is not a result of `pbe-gpu bench --json`", at: path, remedy: remedy)
    }
  }
}

/// Where one step's time goes: kernels grouped by operator and shapes.
struct BenchProfile: Codable {
  struct Row: Codable {
    /// The operator and its shapes.
    var operation: String
    /// The kernel, and the macros that make its variant.
    var kernel: String
    /// How many launches.
    var count: Int
    var milliseconds: Double
    /// The share of the step, 0 to 1.
    var share: Double
    /// Of the operator's definition, over the time of all its kernels; nil but for products.
    var gflops: Double?
    /// The operands' bytes, each once, over the time of all its kernels.
    var gigabytesPerSecond: Double
  }

  var step: String
  var milliseconds: Double
  var rows: [Row]

  init(_ step: String, _ program: Program, _ timings: [KernelTiming]) {
    self.step = step
    let total = timings.reduce(0) { $0 + $1.seconds }
    milliseconds = total * 1000
    let labels = program.operations.map(program.label(of:))
    let costs = program.operations.map(program.cost(of:))
    var secondsByLabel: [String: Double] = [:]
    for timing in timings { secondsByLabel[labels[timing.operation], default: 0] += timing.seconds }
    var costByLabel: [String: OperationCost] = [:]
    for index in Set(timings.map(\.operation)) {
      costByLabel[labels[index], default: OperationCost(flops: 0, bytes: 0)].flops += costs[index].flops
      costByLabel[labels[index], default: OperationCost(flops: 0, bytes: 0)].bytes += costs[index].bytes
    }
    let groups = Dictionary(grouping: timings) { [labels[$0.operation], Self.name($0)] }
    rows = groups.map { key, timings in
      let seconds = timings.reduce(0) { $0 + $1.seconds }
      let whole = secondsByLabel[key[0], default: 0]
      let cost = costByLabel[key[0], default: OperationCost(flops: 0, bytes: 0)]
      let isProduct = key[0].hasPrefix("convolution") || key[0].hasPrefix("matrixProduct")
      return Row(
        operation: key[0], kernel: key[1], count: timings.count, milliseconds: seconds * 1000,
        share: total > 0 ? seconds / total : 0,
        gflops: isProduct && whole > 0 ? cost.flops / whole / 1e9 : nil,
        gigabytesPerSecond: whole > 0 ? cost.bytes / whole / 1e9 : 0)
    }
    .sorted { ($0.milliseconds, $0.operation, $0.kernel) > ($1.milliseconds, $1.operation, $1.kernel) }
  }

  /// A kernel and its variant, such as `convolution VW=4 PIXELS=8`; a macro of the kernel's own name says nothing.
  private static func name(_ timing: KernelTiming) -> String {
    let macros = timing.variant.split(separator: " ").map { $0.hasPrefix("-D") ? $0.dropFirst(2) : $0 }
      .filter { $0.lowercased() != timing.kernel }
    return ([timing.kernel] + macros.map(String.init)).joined(separator: " ")
  }

  func printTable() throws {
    try Output.line(
      String(format: "\n%@: %.2f ms in %d kernels", step, milliseconds, rows.reduce(0) { $0 + $1.count }))
    try Output.table(
      [["operation", "kernel", "count", "ms", "share", "GFLOP/s", "GB/s"]]
        + rows.map { row in
          [
            row.operation, row.operation.hasPrefix(row.kernel) ? "" : row.kernel, "\(row.count)",
            String(format: "%.2f", row.milliseconds), String(format: "%.1f%%", 100 * row.share),
            row.gflops.map { String(format: "%.0f", $0) } ?? "",
            String(format: "%.1f", row.gigabytesPerSecond),
          ]
        })
  }
}
