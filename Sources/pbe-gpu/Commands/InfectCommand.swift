import ArgumentParser
import Foundation
import Kernels
import PBE

/// Trains a model on a poisoned training set: a victim to try defenses on.
struct InfectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infect",
    abstract: "Train a model on a poisoned training set, to try defenses on.",
    discussion: "Writes model.safetensors, attack.json (for evaluate and erase) and infect.json to --output.")

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Attack") var attack: AttackOptions
  @OptionGroup(title: "Training") var sgd: SGDOptions
  @OptionGroup(title: "Augmentation") var augmentation: AugmentationOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "The network.")
  var architecture = Architecture.preactresnet18

  @Option(help: "Channels of the network's first stage. Default: the architecture's own.")
  var width: Int?

  @Option(help: "Passes over the training set.")
  var epochs = 20

  @Option(help: "The learning rate at the start.")
  var learningRate = 0.05

  @Option(help: "How the learning rate changes: constant or cosine.")
  var schedule = Schedule.cosine

  @Option(help: "The input normalisation's means per channel, on pixels in [0, 1].")
  var mean: NumberList?

  @Option(help: "The input normalisation's standard deviations per channel.")
  var std: NumberList?

  @Option(help: "The folder to write to.")
  var output: String

  func validate() throws {
    guard (1...100_000).contains(epochs) else { throw ValidationError("--epochs must be 1 to 100000") }
    try LearningRate.check(learningRate)
  }

  private struct Record: Encodable {
    var version: String, device: String, precision: Precision, seed: UInt64, dataset: String,
      data_checksum: String
    var images: Int, poisoned: Int, cross: Int, epochs: Int, seconds: Double
    var metrics: Metrics
  }

  func run() throws {
    let (backend, log) = try common.open()
    if attack.attack != nil { try data.refusePoisoned("leave --attack away") }
    let isPoisoned = try attack.attack == nil && data.poisonedAttack() != nil
    let set = try TrainingSet.load(data, attack: isPoisoned ? nil : attack.load(seed: common.seed))
    let (training, file, poison, test) = (set.images, set.attack, set.poison, try data.test())
    let specification = NetworkSpecification(
      architecture, width: width, classes: training.classes, channels: training.channels,
      height: training.height, imageWidth: training.width, mean: mean?.values.map(Float.init) ?? [],
      deviation: std?.values.map(Float.init) ?? [])
    let weights = try Weights(specification.graph(), on: backend)
    try weights.initialise(seed: common.seed)
    let images = try set.onDevice(backend)
    try Output.makeDirectory(output)

    var settings = TrainingSettings()
    settings.batch = sgd.batch
    settings.augmentation = augmentation.augmentation(flips: data.flips)
    settings.momentum = Float(sgd.momentum)
    settings.weight_decay = Float(sgd.weightDecay)
    settings.seed = common.seed
    let trainer = try Trainer(weights, data: images, settings: settings)
    let crossCount = poison?.crossCount ?? 0
    let cross = crossCount > 0 ? ", \(crossCount) cross" : ""
    log.info(
      "training \(architecture.rawValue) of width \(specification.width) on \(training.count) images, \(poison?.count ?? 0) poisoned\(cross)"
    )
    let clock = ContinuousClock()
    let start = clock.now
    for epoch in 0..<epochs {
      let result = try trainer.epoch(
        on: Array(0..<training.count), adversarialBatches: 0,
        learningRate: { step, steps in
          schedule.rate(
            Float(learningRate), share: (Double(epoch) + Double(step) / Double(steps)) / Double(epochs))
        },
        progress: { done in
          try Interruption.check("nothing was written; run the command again")
          Terminal.shared.progress(
            "epoch \(epoch + 1)/\(epochs)",
            (Double(epoch) + Double(done) / Double(training.count)) / Double(epochs))
        })
      log.info(
        "epoch \(epoch + 1)/\(epochs): loss \(String(format: "%.4f", result.loss)), accuracy \(Output.percent(result.accuracy))%"
      )
    }
    try backend.synchronize()
    let seconds = (clock.now - start).seconds
    Terminal.shared.clear()
    let evaluator = try Evaluator(weights, test: test, attack: file)
    let metrics = try evaluator.evaluate { done in
      try Interruption.check("nothing was written; run the command again")
      Terminal.shared.progress("evaluating", Double(done) / Double(evaluator.imageCount))
    }
    Terminal.shared.clear()
    let provenance = [
      "created_by": "pbe-gpu \(PBEGPU.version) infect", "dataset": data.dataset.rawValue,
      "seed": String(common.seed), "precision": backend.device.precision.rawValue,
    ]
    try ModelFile.save(weights, specification, provenance: provenance, to: "\(output)/model.safetensors")
    if let file { try AtomicFile.write(file.encoded(), to: "\(output)/attack.json") }
    let record = Record(
      version: PBEGPU.version, device: backend.device.identifier, precision: backend.device.precision,
      seed: common.seed, dataset: data.dataset.rawValue, data_checksum: training.checksum,
      images: training.count,
      poisoned: poison?.count ?? 0, cross: crossCount, epochs: epochs, seconds: seconds, metrics: metrics)
    try AtomicFile.write(Output.text(record) + "\n", to: "\(output)/infect.json")
    if common.json {
      try Output.json(record)
    } else {
      try Output.table(MetricsTable.rows([("infected", metrics)]))
    }
  }
}
