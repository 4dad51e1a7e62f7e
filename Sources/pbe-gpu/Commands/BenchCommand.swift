import ArgumentParser
import Foundation
import Kernels
import PBE

/// Times the three steps that PBE is made of.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Time a forward pass, a PGD step and a training step on random images.",
    discussion:
      "Prints the median seconds per batch. Time other programs on the same machine in turn, and compare ratios."
  )

  @Option(help: "The network.")
  var architecture = Architecture.preactresnet18

  @Option(help: "Channels of the network's first stage. Default: the architecture's own.")
  var width: Int?

  @Option(help: "Images per step.")
  var batch = 128

  @Option(help: "Timed repetitions, after two that warm up.")
  var repeats = 5

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (1...65536).contains(batch), (1...1000).contains(repeats) else {
      throw ValidationError("--batch must be 1 to 65536 and --repeats 1 to 1000")
    }
  }

  private struct Record: Encodable {
    var infer: Double, pgd: Double, train: Double, loss: Double
    var peak_mib: Int, device: String, architecture: String, width: Int, batch: Int
    var gflops: [String: Double]
  }

  func run() throws {
    let (backend, _) = try common.open()
    let isMNIST = architecture == .mnistNet
    let specification = NetworkSpecification(
      architecture, width: width, classes: 10, channels: isMNIST ? 1 : 3, height: isMNIST ? 28 : 32,
      imageWidth: isMNIST ? 28 : 32)
    let weights = try Weights(specification.graph(), on: backend)
    try weights.initialise(seed: common.seed)
    let steps = try BenchSteps(weights, batch: batch, seed: common.seed)
    let (infer, pgd) = (try median(steps.infer, backend), try median(steps.pgd, backend))
    let train = try median(steps.train, backend)
    let loss = try steps.lastLoss()
    let forward = 2 * Double(weights.graph.multiplyAdds) * Double(batch) / 1e9
    let record = Record(
      infer: infer, pgd: pgd, train: train, loss: loss, peak_mib: Self.peakMebibytes,
      device: backend.device.identifier, architecture: architecture.rawValue, width: specification.width,
      batch: batch,
      gflops: ["infer": forward / infer, "pgd": 2 * forward / pgd, "train": 3 * forward / train])
    if common.json {
      try Output.json(record)
      return
    }
    func row(_ name: String, _ seconds: Double, _ passes: Double) -> [String] {
      [name, String(format: "%.4f", seconds), String(format: "%.0f", passes * forward / seconds)]
    }
    try Output.table([
      ["step", "seconds", "GFLOP/s (of direct convolutions)"], row("infer", infer, 1), row("pgd", pgd, 2),
      row("train", train, 3),
    ])
    try Output.line("peak memory \(record.peak_mib) MiB; loss of the last training step \(loss)")
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
    return times.dropFirst(2).sorted()[repeats / 2]
  }

  /// The largest resident size of the process so far.
  private static var peakMebibytes: Int {
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

/// The three plans on random images.
private struct BenchSteps {
  let infer: any Executable, pgd: any Executable, train: any Executable
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
    let compiled = try backend.compile([
      Plans.infer(weights, images: images, logits: logits),
      Plans.pgdStep(
        weights, adversarial: example, origin: images, labels: labels, samples: samples, totals: attackTotals,
        attack: PGD()),
      Plans.train(
        weights, images: images, labels: labels, samples: samples, totals: totals,
        optimizer: try Optimizer(weights), seed: seed, appendingTo: train),
    ])
    (infer, pgd, self.train) = (compiled[0], compiled[1], compiled[2])
  }

  func lastLoss() throws -> Double { Double(try backend.read(totals)[0]) / Double(batch) }
}
