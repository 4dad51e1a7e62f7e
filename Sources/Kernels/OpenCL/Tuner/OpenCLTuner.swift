import Foundation

/// Finds the fastest right parameters of every family of products on one device.
///
/// Each candidate is built, checked against the CPU backend, and timed on representative layers; what doesn't build,
/// fails or is wrong is discarded, whatever it promises.
struct OpenCLTuner {
  /// Increases when what is tuned, or how, changes, so that files of before are made anew.
  static let version = 1

  /// How the winner of one family was found.
  struct Finding: Sendable {
    var family: ProductFamily
    var standard: ProductParameters
    var chosen: ProductParameters
    /// The standard's time divided by the chosen one's; 1 where the standard stays.
    var speedUp: Double
    /// The chosen one's relative error against the CPU backend; `nil` where nothing was right.
    var error: Double?
    var tried: Int
    /// What was discarded, and why.
    var discarded: [String]
  }

  let hardware: OpenCLDevice
  var workloads: [TuningWorkload]
  /// What is tried in a family, the most promising first.
  var candidates: @Sendable (ProductFamily) -> [ProductParameters]
  /// About how long it may take.
  var seconds: Double
  /// Timed repetitions.
  var samples: Int
  /// The largest relative error that is rounding: the parity table's bound for sums of products.
  var tolerance = 1e-5
  /// How much faster than the standard a candidate must be: less than that is noise.
  var threshold = 1.03
  /// What the untuned choice depends on, for tests.
  var environment: [String: String] = [:]
  var compile: TuningBench.Compile = { try $0.compile([$1], tuning: $2)[0] }
  var stopwatch: TuningBench.Stopwatch = { _, work in try ContinuousClock().measure(work).seconds }

  /// A tuner for a device: 30 seconds, or with `thorough` 5 minutes, unless `seconds` says otherwise.
  init(_ hardware: OpenCLDevice, thorough: Bool = false, seconds: Double? = nil) {
    self.hardware = hardware
    self.seconds = seconds ?? (thorough ? 300 : 30)
    samples = thorough ? 15 : 5
    // A CPU is slow enough with a few images.
    workloads = TuningWorkload.all(batch: hardware.limits.isCPU ? 2 : 128)
    let limits = hardware.limits
    candidates = { OpenCLTuning.candidates($0, on: limits) }
  }

  /// What is told while it works.
  typealias Progress = (_ what: String, _ share: Double) throws -> Void

  /// Tunes all families. `journal` survives the end of the process: a candidate that ended it isn't tried again.
  /// Throws what `progress` throws, and `device` when nothing could be tried.
  func run(journal: TuningJournal?, progress: Progress) throws -> [Finding] {
    let start = ContinuousClock.now
    func elapsed() -> Double { (ContinuousClock.now - start).seconds }
    let families = ProductFamily.allCases.map { family in (family, workloads.filter { $0.family == family }) }
      .filter { !$0.1.isEmpty }
    var findings: [Finding] = []
    for (index, (family, layers)) in families.enumerated() {
      // What one family leaves is the next ones'.
      let rest = families[index...].reduce(0) { $0 + Self.weight($1.0) }
      let share = (seconds - elapsed()) * Self.weight(family) / rest
      guard share > 0 else { break }
      do {
        findings.append(
          try tune(family, layers, until: ContinuousClock.now + .seconds(share), journal) { what in
            try progress("\(family.rawValue): \(what)", min(1, elapsed() / seconds))
          })
      } catch let error as PBEError where error.kind == .device {
        // A device without memory for these layers can still do the others.
        let standard = try OpenCLTuning(hardware.limits, environment: environment).parameters(family)
        findings.append(
          Finding(
            family: family, standard: standard, chosen: standard, speedUp: 1, error: nil, tried: 0,
            discarded: ["\(error)"]))
      }
    }
    guard findings.contains(where: { $0.tried > 0 }) else {
      let why = findings.lazy.compactMap(\.discarded.first).first ?? "there was no time"
      throw PBEError(
        .device, "no kernel could be tried: \(why)", at: hardware.description.identifier,
        remedy: "try again when no other program uses the device")
    }
    return findings
  }

  /// The share of the time that a family gets: most of a network's time is in wide 3x3 convolutions.
  private static func weight(_ family: ProductFamily) -> Double {
    switch family {
    case .convolution3x3, .filterGradient3x3: 3
    default: 1
    }
  }

  private func tune(
    _ family: ProductFamily, _ layers: [TuningWorkload], until deadline: ContinuousClock.Instant,
    _ journal: TuningJournal?, progress: (String) throws -> Void
  ) throws -> Finding {
    let base = try OpenCLTuning(hardware.limits, environment: environment)
    let standard = base.parameters(family)
    func tuning(_ parameters: ProductParameters) throws -> OpenCLTuning {
      var tuning = base
      guard tuning.use([family: parameters]).isEmpty else {
        throw PBEError(.internal, "\(parameters.words) doesn't suit the device, but is a candidate")
      }
      return tuning
    }
    // What ended an earlier run; the standard counts from the second time on, as any use of the device needs it.
    func isSuspect(_ parameters: ProductParameters) -> Bool {
      let times = journal?.suspects.count { $0 == Self.name(parameters, family) } ?? 0
      return times > (parameters == standard ? 1 : 0)
    }
    let fallback = isSuspect(standard) ? ProductParameters(algorithm: .registers) : standard
    var finding = Finding(
      family: family, standard: standard, chosen: fallback, speedUp: 1, error: nil, tried: 0, discarded: [])
    // Before the CPU computes for a device that can't be opened.
    let backend = try open()
    try progress("the CPU's results")
    let expected = try TuningBench.expected(layers)
    var bench = try self.bench(layers, expected, on: backend)
    if !isSuspect(standard) {
      journal?.begin(Self.name(standard, family))
      try? bench.warmUp(base, seconds: 0.1)
      journal?.end()
    }

    var best: (parameters: ProductParameters, seconds: [Double], error: Double)?
    var standardError: Double?
    // The standard is the first, and tried however little time there is; so is what runs everywhere, while nothing is right.
    candidates: for parameters in [standard] + candidates(family).filter({ $0 != standard }) {
      let isNeeded = parameters == standard || best == nil && parameters.algorithm == .registers
      guard isNeeded || ContinuousClock.now < deadline else { continue }
      try progress(parameters.words)
      let name = Self.name(parameters, family)
      if isSuspect(parameters) {
        finding.discarded.append("\(parameters.words): it ended an earlier run")
        continue
      }
      finding.tried += 1
      journal?.begin(name)
      defer { journal?.acquit(name) }
      switch bench.judge(
        try tuning(parameters), best: best?.seconds, deadline: isNeeded ? nil : deadline)
      {
      case .right(let seconds, let error):
        if parameters == standard { standardError = error }
        if best.map({ Self.ratio($0.seconds, seconds) > 1 }) ?? true { best = (parameters, seconds, error) }
      case .slow: break
      case .wrong(let why): finding.discarded.append("\(parameters.words): wrong, \(why)")
      case .failed(let error):
        finding.discarded.append("\(parameters.words): \(error)")
        // After a failed kernel some drivers refuse everything else in the same context.
        guard let fresh = try? self.bench(layers, expected, on: open()) else { break candidates }
        bench = fresh
      }
    }
    guard let best else { return finding }
    finding.error = standardError
    guard best.parameters != standard else { return finding }
    // A wrong standard needn't be beaten.
    let speedUp =
      standardError == nil ? 1 : (try? bench.speedUp(of: tuning(best.parameters), over: base)) ?? 1
    if standardError == nil || speedUp >= threshold {
      (finding.chosen, finding.error, finding.speedUp) = (best.parameters, best.error, speedUp)
    }
    return finding
  }

  private func open() throws -> OpenCLBackend {
    // Most candidates are never used again: their programs aren't kept on disk.
    try OpenCLBackend(
      hardware, tuning: OpenCLTuning(hardware.limits, environment: environment),
      cache: OpenCLProgramCache(environment: ["PBE_GPU_CACHE": "off"]))
  }

  private func bench(
    _ layers: [TuningWorkload], _ expected: [[Float]], on backend: OpenCLBackend
  ) throws -> TuningBench {
    try TuningBench(
      layers, on: backend, expected: expected, tolerance: tolerance, samples: samples, compile: compile,
      stopwatch: stopwatch)
  }

  /// A candidate in the journal, with everything that makes it another one.
  private static func name(_ parameters: ProductParameters, _ family: ProductFamily) -> String {
    let sizes = ProductParameters.tunables.map { "\($0.name)=\(parameters[keyPath: $0.path])" }
    return ([family.rawValue, parameters.algorithm.rawValue] + sizes).joined(separator: " ")
  }

  /// The geometric mean of the times' ratios.
  private static func ratio(_ a: [Double], _ b: [Double]) -> Double {
    exp(zip(a, b).reduce(0) { $0 + log($1.0 / $1.1) } / Double(max(1, a.count)))
  }
}
