import ArgumentParser
import Foundation
import Kernels
import PBE

/// Times the three steps that PBE is made of.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Time a forward pass, a PGD step and a training step on random images.",
    discussion: """
      Prints the median seconds per batch. Time other programs on the same machine in turn, and compare ratios. \
      With --compare it exits with code 69 when a step is slower than the stored result by more than --tolerance.
      """
  )

  @Option(help: "The network.")
  var architecture = Architecture.preactresnet18

  @Option(help: "Channels of the network's first stage. Default: the architecture's own.")
  var width: Int?

  @Option(help: "Images per step.")
  var batch = 128

  @Option(help: "Timed repetitions, after two that warm up.")
  var repeats = 5

  @Flag(help: "Print what each kind of kernel takes, its share, GFLOP/s and GB/s.")
  var profile = false

  @Flag(help: "Instead, measure the CPU's limits and what the phases of its convolutions reach of them.")
  var roofline = false

  @Option(help: "A result of `bench --json` on this machine to compare with.", completion: .file())
  var compare: String?

  @Option(help: "How much slower, in per cent, is a regression.")
  var tolerance = 15.0

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (1...65536).contains(batch), (1...1000).contains(repeats) else {
      throw ValidationError("--batch must be 1 to 65536 and --repeats 1 to 1000")
    }
    guard (1...4096).contains(width ?? 1) else { throw ValidationError("--width must be 1 to 4096") }
    let isOther =
      compare != nil || profile || common.products.precision ?? .fp32 != .fp32
      || !["auto", "cpu"].contains(common.device)
    guard !roofline || !isOther else {
      throw ValidationError(
        "--roofline is about the CPU in fp32: --device, --precision, --profile and --compare have no use for it"
      )
    }
    guard tolerance.isFinite, tolerance >= 0 else { throw ValidationError("--tolerance must be at least 0") }
  }

  func run() throws {
    if roofline {
      let roofline = try CPURoofline(
        width: max(16, (width ?? architecture.defaultWidth) / 16 * 16), batch: batch, repeats: repeats
      ) { try Interruption.check("run the command again") }
      return try common.json ? Output.json(roofline) : roofline.printTable()
    }
    let stored = try compare.map(BenchRecord.init(contentsOf:))
    let (backend, _) = try common.open()
    let isMNIST = architecture == .mnistNet
    let specification = NetworkSpecification(
      architecture, width: width, classes: 10, channels: isMNIST ? 1 : 3, height: isMNIST ? 28 : 32,
      imageWidth: isMNIST ? 28 : 32)
    let weights = try Weights(specification.graph(), on: backend)
    try weights.initialise(seed: common.seed)
    let steps = try BenchSteps(weights, batch: batch, seed: common.seed)
    let seconds = try steps.all.map { ($0.name, try median($0.executable, backend)) }
    let forward = 2 * Double(weights.graph.multiplyAdds) * Double(batch) / 1e9
    var record = BenchRecord(
      device: backend.device.identifier, precision: backend.device.precision,
      architecture: architecture.rawValue,
      width: specification.width, batch: batch, infer: seconds[0].1, pgd: seconds[1].1, train: seconds[2].1,
      loss: try steps.lastLoss(),
      gflops: Dictionary(
        uniqueKeysWithValues: zip(seconds, [1.0, 2, 3]).map { ($0.0, $1 * forward / $0.1) }),
      peakMib: BenchRecord.peakMebibytes)
    if profile {
      record.profile = try steps.all.map { step in
        // The first run after the timings is as warm as they were.
        BenchProfile(step.name, step.program, try step.executable.profile(RunParameters(learningRate: 0.001)))
      }
    }
    if common.json { try Output.json(record) } else { try record.printTable() }
    if let stored { try record.compare(with: stored, tolerance: tolerance, quiet: common.json) }
  }

  private func median(_ step: any Executable, _ backend: any Backend) throws -> Double {
    var times: [Double] = []
    let clock = ContinuousClock()
    for _ in 0..<repeats + 2 {
      try Interruption.check("run the command again")
      let start = clock.now
      try step.run(RunParameters(learningRate: 0.001))
      try backend.synchronize()
      times.append((clock.now - start).seconds)
    }
    return times.dropFirst(2).median
  }
}

/// The three plans on random images.
private struct BenchSteps {
  struct Step {
    let name: String
    let program: Program
    let executable: any Executable
  }

  let all: [Step]
  private let backend: any Backend
  private let totals: Tensor
  private let batch: Int

  init(_ weights: Weights, batch: Int, seed: UInt64) throws {
    backend = weights.backend
    self.batch = batch
    let input = weights.graph.input
    let shape = Shape(batch, input.c, input.h, input.w)
    var stream = PhiloxStream(seed: seed, purpose: 0)
    let pixels = (0..<shape.count).map { _ in stream.nextUniform() }
    let images = try backend.makeTensor(pixels, shape: shape, role: .image)
    let example = try backend.makeTensor(pixels, shape: shape, role: .image)
    let labels = try backend.makeTensor(
      (0..<batch).map { Int32($0 % weights.graph.classes) }, shape: Shape(batch, 1))
    let samples = try backend.makeTensor((0..<batch).map { Int32($0) }, shape: Shape(batch, 1))
    let logits = try backend.makeTensor(Shape(batch, weights.graph.classes))
    let attackTotals = try backend.makeTensor(.vector(2))
    totals = try backend.makeTensor(.vector(2))
    var train = Program()
    // Only the last step's loss is reported.
    train.append(.fill(Fill(output: train.bind(totals), value: 0)))
    let programs = try [
      Plans.infer(weights, images: images, logits: logits),
      Plans.pgdStep(
        weights, adversarial: example, origin: images, labels: labels, samples: samples, totals: attackTotals,
        attack: PGD()),
      Plans.train(
        weights, images: images, labels: labels, samples: samples, totals: totals,
        optimizer: try Optimizer(weights), seed: seed, appendingTo: train),
    ]
    all = zip(["infer", "pgd", "train"], zip(programs, try backend.compile(programs))).map {
      Step(name: $0, program: $1.0, executable: $1.1)
    }
  }

  func lastLoss() throws -> Double { Double(try backend.read(totals)[0]) / Double(batch) }
}
