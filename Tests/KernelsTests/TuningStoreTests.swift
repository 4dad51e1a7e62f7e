import Foundation
import Testing

@testable import Kernels

/// The tuning's files: what is read, what is not, and many processes at once.
@Suite(.serialized) struct TuningStoreTests {
  private let device: OpenCLDevice
  private let folder: URL
  private let environment: [String: String]
  private let store: TuningStore
  private static let chosen = ProductParameters(algorithm: .tiled, tileM: 32, tileN: 32, tileK: 8)

  init() throws {
    device = try OpenCLDevice.named("opencl:0")
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("tuning \(UUID().uuidString)")
    environment = ["PBE_GPU_CACHE": folder.path, "PBE_GPU_TUNE": "on"]
    store = TuningStore(environment: environment)
  }

  private func remove() { try? FileManager.default.removeItem(at: folder) }

  private static func finding(_ family: ProductFamily = .convolution) -> OpenCLTuner.Finding {
    OpenCLTuner.Finding(
      family: family, standard: ProductParameters(algorithm: .registers), chosen: chosen, speedUp: 2,
      error: 1e-7, tried: 3, discarded: [])
  }

  /// A tuner that is done in a moment.
  private var quick: OpenCLTuner {
    var tuner = OpenCLTuner(device, seconds: 600)
    tuner.workloads = [
      TuningWorkload(
        form: .matrixProduct(transposeA: false, transposeB: false), batch: 8, inputs: 8, outputs: 8)
    ]
    tuner.candidates = { _ in [Self.chosen] }
    tuner.compile = { backend, program, tuning in
      var program = program
      if tuning.parameters(.matrixProduct).algorithm == .registers {
        for operation in Array(repeating: program.operations, count: 200).joined() {
          program.append(operation)
        }
      }
      return CountedExecutable(try backend.compile([program])[0], operations: program.operations.count)
    }
    tuner.stopwatch = CountedExecutable.stopwatch
    return tuner
  }

  /// Collects notices of several threads.
  private final class Notices: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    var all: [String] { lock.withLock { lines } }
    func add(_ line: String) { lock.withLock { lines.append(line) } }
  }

  /// What computes wrong is said on every start, not only after the search.
  @Test func whatIsWrongIsSaid() throws {
    defer { remove() }
    var finding = Self.finding()
    finding.error = nil
    #expect(store.store([finding, Self.finding(.matrixProduct)], for: device))
    #expect(try store.stored(for: device)?.wrong == [.convolution])
    for _ in 0..<2 {
      let notices = Notices()
      _ = try AutomaticTuning(environment: environment, notice: notices.add).tuning(for: device)
      #expect(notices.all.count == 1 && notices.all[0].contains("for convolution that computes right"))
    }
  }

  @Test func aStoredTuningIsUsed() throws {
    defer { remove() }
    #expect(try store.stored(for: device) == nil)
    #expect(store.store([Self.finding(.matrixProduct)], for: device))
    let tuning = try #require(try store.stored(for: device))
    #expect(tuning.parameters(.matrixProduct) == Self.chosen)
    #expect(tuning.parameters(.convolution).algorithm == .registers)
    let notices = Notices()
    let automatic = AutomaticTuning(environment: environment, notice: notices.add)
    let used = try OpenCLBackend(device, tuning: try automatic.tuning(for: device))
    #expect(used.device.kernels.hasSuffix("tuned"))
    let prepared = try quick.workloads[0].prepare(on: used)
    let timings = try used.compile([prepared.program])[0].profile(RunParameters())
    #expect(timings.contains { $0.variant.contains("TILE_M=32") }, "\(timings)")
    #expect(notices.all.isEmpty)
    // Kernels that were chosen by hand are those, whatever a file says.
    let byHand = TuningStore(environment: environment.merging(["PBE_GPU_KERNELS": "cpu"]) { $1 })
    #expect(byHand.file(for: device) == nil)
    let off = TuningStore(environment: ["PBE_GPU_CACHE": "off"])
    #expect(off.file(for: device) == nil)
  }

  /// What could not be tried, for want of memory for example, keeps its untuned kernels and is not called wrong.
  @Test func whatWasNotTriedIsNotWrong() throws {
    defer { remove() }
    var untried = Self.finding(.matrixProduct)
    (untried.chosen, untried.error, untried.tried) = (untried.standard, nil, 0)
    #expect(store.store([Self.finding(), untried], for: device))
    let tuning = try #require(try store.stored(for: device))
    #expect(tuning.wrong.isEmpty && tuning.parameters(.convolution) == Self.chosen)
    untried.tried = 1
    #expect(store.store([Self.finding(), untried], for: device))
    #expect(try store.stored(for: device)?.wrong == [.matrixProduct])
  }

  /// A run's sums are divided among as many compute units as before, whatever the driver shows now. Numbers that no device has
  /// are refused: anyone may have written the checkpoint.
  @Test func computeUnitsAreKept() throws {
    let notices = Notices()
    func again(_ units: Int) throws -> OpenCLTuning? {
      var tuning = try OpenCLTuning(device.limits)
      tuning.limits.computeUnits = units
      return try KernelChoices(tuning, of: device).tuning(
        for: device, environment: environment, notice: notices.add)
    }
    let more = device.limits.computeUnits + 3
    #expect(try again(more)?.limits.computeUnits == more && notices.all.isEmpty)
    for units in [0, -1, 1 << 17, .max] { #expect(try again(units) == nil) }
    #expect(notices.all.count == 4 && notices.all.allSatisfy { $0.contains("compute units") })
  }

  /// What a checkpoint keeps of a device's kernels is what the device gets again, tuned or not; what can't be had again is
  /// told.
  @Test func choicesAreKept() throws {
    defer { remove() }
    #expect(store.store([Self.finding(.matrixProduct)], for: device))
    let notices = Notices()
    func again(_ tuning: OpenCLTuning?, _ more: [String: String] = [:]) throws -> OpenCLTuning? {
      let used = try OpenCLBackend(device, tuning: tuning)
      let choices = try JSONDecoder().decode(
        KernelChoices.self, from: JSONEncoder().encode(try #require(used.device.choices)))
      #expect(choices == used.device.choices)
      return try choices.tuning(
        for: device, environment: environment.merging(more) { $1 }, notice: notices.add)
    }
    let tuned = try #require(try store.stored(for: device))
    #expect(try again(tuned)?.products == tuned.products)
    #expect(try again(nil)?.products == OpenCLTuning(device.limits).products)
    #expect(notices.all.isEmpty)
    #expect(try again(tuned, ["PBE_GPU_KERNELS": "cpu"]) == nil)
    #expect(notices.all.count == 1 && notices.all[0].contains("PBE_GPU_KERNELS"))
    let byHand = try OpenCLTuning(device.limits, environment: ["PBE_GPU_KERNELS": "gpu"])
    #expect(try again(byHand) == nil)
    #expect(notices.all.count == 2 && notices.all[1].contains("other kernels"))
    // The program divides sums otherwise than the version that wrote the checkpoint.
    let text = String(decoding: try JSONEncoder().encode(KernelChoices(tuned, of: device)), as: UTF8.self)
    let now = "\"launches\":\(LaunchBuilder.version)"
    #expect(text.contains(now))
    let older = text.replacingOccurrences(of: now, with: "\"launches\":0")
    let choices = try JSONDecoder().decode(KernelChoices.self, from: Data(older.utf8))
    #expect(try choices.tuning(for: device, environment: environment, notice: notices.add) == nil)
    #expect(notices.all.count == 3)
  }

  /// What an earlier tuning tried when it ended is named before the next one begins.
  @Test func suspectsAreNamed() throws {
    defer { remove() }
    let suspect = "convolution tiled TILE_M=64"
    try TuningJournal(beside: try #require(store.file(for: device)), patience: 0).begin(suspect)
    let notices = Notices()
    let automatic = AutomaticTuning(environment: environment, notice: notices.add)
    #expect(try automatic.tuning(for: device, tuner: quick) != nil)
    #expect(notices.all.count == 2, "\(notices.all)")
    #expect(notices.all.last?.contains("an earlier tuning ended while it tried \(suspect);") == true)
  }

  /// Where nothing could be tried, for want of time or of memory, nothing is kept: the next start tries again.
  @Test func nothingTriedIsNothingKept() throws {
    defer { remove() }
    let notices = Notices()
    var tuner = quick
    tuner.seconds = 0
    let automatic = AutomaticTuning(environment: environment, notice: notices.add)
    #expect(try automatic.tuning(for: device, tuner: tuner) == nil)
    #expect(notices.all.last?.contains("isn't tuned") == true, "\(notices.all)")
    #expect(try automatic.tuning(for: device, tuner: quick) != nil)
  }

  @Test func theFilesNameIsPlain() throws {
    let name = try #require(store.file(for: device)).lastPathComponent
    #expect(name.hasPrefix("v\(OpenCLTuner.version)-") && name.hasSuffix(".json"))
    #expect(name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) })
  }

  /// Damages of a good file, by what replaces what.
  @Test(arguments: [
    ("\"version\" : 1", "\"version\" : 0"), ("\"TILE_K\" : 8", "\"TILE_K\" : 7"),
    ("\"TILE_K\" : 8", "\"TILE_K\" : 9223372036854775807"), ("\"TILE_K\" : 8", "\"TILE_K\" : -8"),
    ("\"TILE_K\" : 8", "\"TILE_K\" : 1e300"), ("\"TILE_K\" : 8,", ""), ("tiled", "magic"),
    ("\"convolution\"", "\"nonesuch\""), ("\"device\" : \"", "\"device\" : \"other "),
    ("\"kernels\" : \"", "\"kernels\" : \"0"), ("{", ""), ("{", "["),
  ])
  func otherFilesAreIgnoredAndMadeAnew(_ old: String, _ new: String) throws {
    defer { remove() }
    #expect(store.store([Self.finding()], for: device))
    let file = try #require(store.file(for: device))
    let text = try String(contentsOf: file, encoding: .utf8)
    let range = try #require(text.range(of: old))
    try text.replacingCharacters(in: range, with: new).write(to: file, atomically: true, encoding: .utf8)
    #expect(try store.stored(for: device) == nil)
    // Without leave to tune it stays, and the untuned choice is used.
    let notices = Notices()
    var asked = environment
    asked["PBE_GPU_TUNE"] = "off"
    #expect(try AutomaticTuning(environment: asked, notice: notices.add).tuning(for: device) == nil)
    #expect(notices.all.count == 1 && notices.all[0].contains("is ignored"))
    let tuning = try AutomaticTuning(environment: environment, notice: notices.add)
      .tuning(for: device, tuner: quick)
    #expect(tuning?.parameters(.matrixProduct) == Self.chosen)
    #expect(notices.all.count == 3 && notices.all[2].contains("pbe-gpu tune"))
    #expect(try store.stored(for: device) != nil)
  }

  @Test func emptyAndTruncatedFiles() throws {
    defer { remove() }
    #expect(store.store([Self.finding()], for: device))
    let file = try #require(store.file(for: device))
    let whole = try Data(contentsOf: file)
    for bytes in [Data(), whole.prefix(whole.count / 2), Data(repeating: 0x5B, count: 2 << 20)] {
      try bytes.write(to: file)
      guard case .unusable = try store.load(for: device) else {
        Issue.record("a file of \(bytes.count) bytes was used")
        continue
      }
    }
  }

  @Test func cpusAreTunedOnRequestOnly() throws {
    defer { remove() }
    try #require(device.limits.isCPU)
    let notices = Notices()
    let automatic = AutomaticTuning(environment: ["PBE_GPU_CACHE": folder.path], notice: notices.add)
    #expect(try automatic.tuning(for: device, tuner: quick) == nil)
    #expect(notices.all.isEmpty && !FileManager.default.fileExists(atPath: folder.path))
  }

  @Test func manyStartsTuneOnce() throws {
    defer { remove() }
    let notices = Notices()
    let (device, environment, quick) = (device, environment, quick)
    DispatchQueue.concurrentPerform(iterations: 6) { _ in
      do {
        let tuning = try AutomaticTuning(environment: environment, notice: notices.add)
          .tuning(for: device, tuner: quick)
        if tuning?.parameters(.matrixProduct) != Self.chosen { notices.add("not tuned") }
      } catch {
        notices.add("\(error)")
      }
    }
    #expect(notices.all.count == 1, "\(notices.all)")
    let names = try FileManager.default.contentsOfDirectory(
      atPath: folder.appendingPathComponent("tuning").path)
    #expect(names.count == 2 && names.contains { $0.hasSuffix(".json") })
  }

  @Test func aSlowHolderIsNotWaitedForForever() throws {
    defer { remove() }
    let file = try #require(store.file(for: device))
    let holder = try TuningJournal(beside: file, patience: 0)
    var tuner = quick
    tuner.seconds = 0.2
    let notices = Notices()
    let automatic = AutomaticTuning(environment: environment, notice: notices.add)
    #expect(try automatic.tuning(for: device, tuner: tuner) == nil)
    #expect(notices.all.count == 1 && notices.all[0].contains("another process"))
    withExtendedLifetime(holder) {}
  }

  @Test func aFolderThatCantBeWritten() throws {
    let notices = Notices()
    let environment = ["PBE_GPU_CACHE": "/dev/null/cache", "PBE_GPU_TUNE": "on"]
    let automatic = AutomaticTuning(environment: environment, notice: notices.add)
    #expect(try automatic.tuning(for: device, tuner: quick) == nil)
    #expect(notices.all.count == 1 && notices.all[0].contains("/dev/null/cache"))
  }
}
