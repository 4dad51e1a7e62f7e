import ArgumentParser
import Foundation
import Kernels
import PBE

/// Trains a model on a poisoned training set: a victim to try defenses on.
struct InfectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infect",
    abstract: "Train a model on a poisoned training set, to try defenses on.",
    discussion: """
      Writes model.safetensors, attack.json (for evaluate and erase) and infect.json to --output. Until then, \
      checkpoint.safetensors there holds the state after the last epoch, or after the last step when the run was \
      interrupted: the same command with --resume goes on from it.
      """)

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

  @Option(
    help:
      "dynamic: passes over the training set that train the mask generator, at most --epochs. Default: 25.")
  var maskEpochs: Int?

  @Option(help: "The highest learning rate.")
  var learningRate = 0.05

  @Option(help: ArgumentHelp(Schedule.help))
  var schedule = Schedule.cosine

  @Option(help: "Measure ACC and ASR on the test set after every so many epochs; 0: only at the end.")
  var evaluateEvery = 1

  @Option(
    help: ArgumentHelp(
      "Stop early when the test set's ACC and ASR reach these per cents: 90,99, or 90 for a clean model.",
      valueName: "acc,asr"))
  var stopAt: NumberList?

  @Option(help: "The input normalisation's means per channel, on pixels in [0, 1].")
  var mean: NumberList?

  @Option(help: "The input normalisation's standard deviations per channel.")
  var std: NumberList?

  @Option(help: "The folder to write to. The results of an earlier run there are replaced.")
  var output: String

  @Flag(help: "Go on from the checkpoint in --output. Without one, start; when all is done, do nothing.")
  var resume = false

  func validate() throws {
    guard (1...100_000).contains(epochs) else { throw ValidationError("--epochs must be 1 to 100000") }
    guard (0...100_000).contains(maskEpochs ?? 25) else {
      throw ValidationError("--mask-epochs must be 0 to 100000")
    }
    guard (0...100_000).contains(evaluateEvery) else {
      throw ValidationError("--evaluate-every must be 0 to 100000")
    }
    try LearningRate.check(learningRate)
    if let values = stopAt?.values {
      guard (1...2).contains(values.count), values.allSatisfy({ (0...100).contains($0) }), evaluateEvery > 0
      else {
        throw ValidationError(
          "--stop-at takes one or two numbers from 0 to 100, and needs --evaluate-every 1 or more")
      }
    }
  }

  private var settings: TrainingSettings {
    var settings = TrainingSettings()
    settings.batch = sgd.batch
    settings.learning_rate = Float(learningRate)
    settings.schedule = schedule
    settings.augmentation = augmentation.augmentation(flips: data.flips)
    settings.momentum = Float(sgd.momentum)
    settings.nesterov = sgd.nesterov
    settings.weight_decay = Float(sgd.weightDecay)
    settings.seed = common.seed
    return settings
  }

  func run() throws {
    try VictimTraining.checkKeepsPoison(output)
    var paths = RunFiles(output, record: "infect.json")
    let (backend, log) = try common.open(resuming: resume ? paths.checkpoint : nil)
    if let file = attack.attack {
      try data.refusePoisoned("leave --attack away")
      // What is changed of it would be lost with the original.
      if attack.isAdjusted { try Output.check(file, isNot: "\(output)/attack.json") }
    }
    let isPoisoned = try attack.attack == nil && data.poisonedAttack() != nil
    if isPoisoned, attack.isAdjusted {
      throw PBEError(
        .usage, "the training set is poisoned already, and stays as it is", at: "--data \(data.data)",
        remedy: "leave --target, --mode, --poison-rate and --parameter away")
    }
    let set = try TrainingSet.load(data, attack: isPoisoned ? nil : attack.load(seed: common.seed))
    var file = set.attack
    try check(file)
    paths.others = VictimTraining.files(of: file)
    let maskEpochs = min(maskEpochs ?? 25, epochs)
    let (training, poison, test) = (set.images, set.poison, try data.test())
    let specification = NetworkSpecification(
      architecture, width: width, classes: training.classes, channels: training.channels,
      height: training.height, imageWidth: training.width, mean: mean?.values.map(Float.init) ?? [],
      deviation: std?.values.map(Float.init) ?? [])
    let identity = try RunIdentity(
      InfectionSettings(
        architecture: architecture.rawValue, width: specification.width, mean: specification.mean,
        std: specification.deviation, dataset: data.dataset.rawValue, data_checksum: training.checksum,
        test_checksum: test.checksum, attack: try file?.identity(), epochs: epochs,
        mask_epochs: file?.attack is Dynamic ? maskEpochs : nil, evaluate_every: evaluateEvery,
        stop_at: stopAt?.values, training: settings, precision: backend.device.precision))
    if resume, let found = try paths.finished(identity, as: InfectionRecord.self, log) {
      log.info("\(paths.record) is there: the run is finished")
      return try found.record.print(asJSON: common.json)
    }
    let weights = try Weights(specification.graph(), on: backend)
    try weights.initialise(seed: common.seed)
    let trainer = try VictimTraining.trainer(
      weights, set, &file, settings: settings, maskEpochs: maskEpochs)
    let evaluator = try Evaluator(weights, test: test, attack: file)
    let events = try paths.begin(
      RunManifest(
        backend.device, identity, checksums: ["training": training.checksum, "test": test.checksum]),
      resuming: resume, log)
    try events.ending {
      let run = TrainingRun(
        trainer, images: training.count, epochs: epochs,
        evaluateEvery: evaluateEvery,
        goal: stopAt.map { goal in
          TrainingRun.Goal(acc: goal.values[0] / 100, asr: (goal.values.dropFirst().first ?? 0) / 100)
        },
        checkpoint: paths.checkpoint, identity: identity)
      paths.announce(
        resuming: resume, from: resume ? try run.resume() : nil, on: backend.device.identifier, events,
        log)
      let cross = (poison?.crossCount).flatMap { $0 > 0 ? ", \($0) cross" : nil } ?? ""
      log.info(
        "training \(architecture.rawValue) of width \(specification.width) on \(training.count) images, \(poison?.count ?? 0) poisoned\(cross)"
      )
      try run.run(observer(evaluator, paths, events) { log.info("\($0)") })
      Terminal.shared.clear()
      guard let metrics = run.history.last?.metrics else {
        throw PBEError(.internal, "the last epoch was not measured")
      }
      let provenance = [
        "created_by": "pbe-gpu \(PBEGPU.version) infect", "dataset": data.dataset.rawValue,
        "seed": String(common.seed), "precision": backend.device.precision.rawValue,
      ]
      try ModelFile.save(weights, specification, provenance: provenance, to: paths.model)
      if let file {
        try VictimTraining.save(file, in: output, provenance: provenance)
      } else {
        // An earlier run's would be taken for this model's.
        unlink("\(output)/attack.json")
      }
      let record = InfectionRecord(
        version: PBEGPU.version, device: backend.device.identifier, precision: backend.device.precision,
        seed: common.seed, dataset: data.dataset.rawValue, data_checksum: training.checksum,
        settings_checksum: identity.checksum, images: training.count, poisoned: poison?.count ?? 0,
        cross: poison?.crossCount ?? 0,
        epochs: run.history.count, seconds: run.seconds, metrics: metrics, history: run.history)
      paths.removeSteps()
      try AtomicFile.write(Output.text(record) + "\n", to: paths.record)
      paths.removeCheckpoint()
      events.finished(metrics, seconds: run.seconds)
      try record.print(asJSON: common.json)
    }
  }

  /// An option that changes nothing would be believed to.
  private func check(_ attack: AttackFile?) throws {
    guard maskEpochs == nil || (attack?.attack as? Dynamic).map({ $0.generators == nil }) ?? false else {
      throw PBEError(
        .usage, "it is for the attack dynamic, whose generators are still to be trained", at: "--mask-epochs",
        remedy: "leave it away")
    }
    guard attack != nil || stopAt?.values.count ?? 1 == 1 else {
      throw PBEError(
        .usage, "a clean model has no ASR", at: "--stop-at", remedy: "give the accuracy alone")
    }
  }

  private func observer(
    _ evaluator: Evaluator, _ paths: RunFiles, _ events: RunEvents, log: @escaping (String) -> Void
  ) -> TrainingRun.Observer {
    TrainingRun.Observer(
      progress: { what, share in
        try Interruption.check(paths.remedy)
        Terminal.shared.progress(what, share)
      },
      evaluate: { what, share in
        try evaluator.evaluate { _ in
          try Interruption.check(paths.remedy)
          Terminal.shared.progress(what, share)
        }
      },
      finished: { report in
        let epoch = report.epoch
        var event = RunEvent(.epoch)
        event.number = epoch.epoch
        event.loss = epoch.loss
        event.metrics = epoch.metrics
        events.add(event)
        var line =
          "epoch \(epoch.epoch)/\(epochs): loss \(String(format: "%.4f", epoch.loss)), "
          + "training accuracy \(Output.percent(epoch.accuracy))%"
        if let metrics = epoch.metrics {
          line += ", ACC \(Output.percent(metrics.acc))%"
          if let asr = metrics.asr { line += ", ASR \(Output.percent(asr))%" }
          if let cross = metrics.cross { line += ", cross \(Output.percent(cross))%" }
        }
        if let speed = report.imagesPerSecond { line += ", \(Int(speed)) images/s" }
        if report.secondsLeft > 0 { line += ", \(report.secondsLeft.asDuration) left" }
        log(line)
      },
      prepared: log, saved: { events.add(RunEvent(.checkpoint)) })
  }
}
