import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// Erases a backdoor.
struct EraseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "erase",
    abstract: "Erase the backdoor of a model.",
    discussion: """
      pbe (progressive backdoor erasing) needs the training set the model was made from, and no clean data; aft \
      (adversarial fine-tuning) needs clean images. Writes model.safetensors, step-N.safetensors, erase.json and, for \
      pbe, agreement.csv (low agreement: probably poisoned) to --output. Without --attack the trigger stays unknown, \
      as it is to a defender, and only accuracy is reported.
      """)

  enum Method: String, ExpressibleByArgument, CaseIterable, Codable { case pbe, aft }

  @OptionGroup var model: ModelOptions
  @OptionGroup var data: DataOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "How to erase.")
  var method = Method.pbe

  @Option(
    help:
      "The attack, as a JSON file: to score by and, with pbe, to poison the training set, unless that was written by poison."
  )
  var attack: String?

  @Flag(
    help:
      "The training images carry their triggers already, unknown to everybody: --attack is to score by only.")
  var poisoned = false

  @Option(help: "The folder to write to.")
  var output: String

  @OptionGroup(title: "Fine-tuning") var sgd: SGDOptions

  @Option(help: "The learning rate.")
  var learningRate = 0.001

  @Option(help: "How the learning rate changes: cosine, one-cycle, multistep or constant.")
  var schedule = Schedule.constant

  @Option(help: "Epochs: of each step (pbe, default 10), or in all (aft, default 20).")
  var epochs: Int?

  @Flag(inversion: .prefixedNo, help: "Shuffle the extra set each epoch.")
  var shuffle = true

  @OptionGroup(title: "Adversarial examples") var pgd: PGDOptions
  @OptionGroup(title: "Augmentation") var augmentation: AugmentationOptions

  @Option(help: "pbe: the share of the training set that the first step draws at random.")
  var initialFraction = 0.05

  @Option(help: "pbe: the share of the training set, by highest agreement, that each later step takes.")
  var keepRates = NumberList([0.2, 0.5, 0.7])

  @Option(help: "pbe: adversarial batches at the beginning of each later step.")
  var adversarialBatches = 31

  @Option(help: "aft: the first epochs, which train on adversarial examples.")
  var adversarialEpochs = 3

  @Option(help: "aft: a folder with clean images, laid out as the data set; its training split is used.")
  var clean: String?

  @Option(help: "aft: the share of the training split to use as clean images when --clean is not given.")
  var cleanFraction = 0.05

  func validate() throws {
    try LearningRate.check(learningRate)
    guard (1...100_000).contains(epochs ?? 1) else { throw ValidationError("--epochs must be 1 to 100000") }
    for share in [initialFraction, cleanFraction] + keepRates.values where !(share > 0 && share <= 1) {
      throw ValidationError(
        "--initial-fraction, --keep-rates and --clean-fraction must be above 0 and at most 1")
    }
    guard (0...1_000_000).contains(adversarialBatches), (0...1_000_000).contains(adversarialEpochs) else {
      throw ValidationError("--adversarial-batches and --adversarial-epochs must be 0 to 1000000")
    }
    guard keepRates.values.count <= 100 else { throw ValidationError("--keep-rates takes at most 100 steps") }
    guard clean == nil || method == .aft else { throw ValidationError("--clean is for --method aft") }
  }

  /// What `erase.json` and `--json` hold.
  struct Record: Encodable {
    var version: String, method: Method, device: String, precision: Precision, seed: UInt64
    var model: String, dataset: String, data_checksum: String
    var before: Metrics, after: Metrics, der: Double?
    var steps: [StepReport], seconds: Double
    var pbe: ProgressiveErasing?
    var aft: AdversarialFineTuning?
  }

  private var tuning: TrainingSettings {
    var tuning = TrainingSettings()
    tuning.batch = sgd.batch
    tuning.learning_rate = Float(learningRate)
    tuning.schedule = schedule
    tuning.momentum = Float(sgd.momentum)
    tuning.nesterov = sgd.nesterov
    tuning.weight_decay = Float(sgd.weightDecay)
    tuning.attack = pgd.attack
    tuning.augmentation = augmentation.augmentation(flips: data.flips)
    tuning.shuffles = shuffle
    tuning.seed = common.seed
    return tuning
  }

  func run() throws {
    let (backend, log) = try common.open()
    let test = try data.test()
    let file = try model.load(for: test)
    let attackFile = try attack.map { try AttackFile.load($0) } ?? data.poisonedAttack()
    // Read before the long work begins: a missing or damaged file is known at once.
    let set = try trainingSet(attackFile)
    let training = set.images
    let weights = try file.weights(on: backend, place: model.model)
    let evaluator = try Evaluator(weights, test: test, attack: attackFile)
    try Output.makeDirectory(output)
    try Output.check(model.model, isNot: "\(output)/model.safetensors")
    let before = try evaluator.evaluate { done in
      try Interruption.check("nothing was written; run the command again")
      Terminal.shared.progress("evaluating", Double(done) / Double(evaluator.imageCount))
    }
    Terminal.shared.clear()
    log.info("before: \(Self.summary(before))")

    let clock = ContinuousClock()
    let start = clock.now
    var record = Record(
      version: PBEGPU.version, method: method, device: backend.device.identifier,
      precision: backend.device.precision, seed: common.seed, model: model.model,
      dataset: data.dataset.rawValue, data_checksum: training.checksum, before: before,
      after: before, der: nil, steps: [], seconds: 0)
    let observer = observer(weights, file.specification, evaluator, log)
    switch method {
    case .aft:
      var aft = AdversarialFineTuning()
      aft.tuning = tuning
      aft.epochs = epochs ?? aft.epochs
      aft.adversarial_epochs = adversarialEpochs
      record.aft = aft
      let images = try DeviceImages(cleanImages(set), on: backend)
      log.info("aft: \(images.count) clean images, \(aft.epochs) epochs")
      record.steps = try aft.run(weights, clean: images, observer: observer)
    case .pbe:
      var pbe = ProgressiveErasing()
      pbe.tuning = tuning
      pbe.initial_fraction = initialFraction
      pbe.keep_rates = keepRates.values
      pbe.epochs_per_step = epochs ?? pbe.epochs_per_step
      pbe.adversarial_batches = adversarialBatches
      record.pbe = pbe
      let poison = set.poison
      let images = try set.onDevice(backend)
      log.info(
        "pbe: \(training.count) training images, \(poison.map { "\($0.count) poisoned" } ?? "poison unknown")"
      )
      let outcome = try pbe.run(
        weights, training: images, isPoisoned: poison?.isPoisoned, observer: observer)
      record.steps = outcome.steps
      try AgreementTable.write(
        outcome, labels: poison?.labels ?? training.labels, to: "\(output)/agreement.csv")
    }
    record.seconds = (clock.now - start).seconds
    Terminal.shared.clear()
    record.after = record.steps.last?.metrics ?? before
    record.der = Metrics.der(before: before, after: record.after)
    try save(weights, file.specification, to: "\(output)/model.safetensors")
    try AtomicFile.write(Output.text(record) + "\n", to: "\(output)/erase.json")
    if common.json {
      try Output.json(record)
    } else {
      try Output.table(MetricsTable.rows([("before", before), ("after", record.after)]))
      if let der = record.der { try Output.line("DER \(Output.percent(der))") }
    }
  }

  /// The training set, poisoned by the attack or before; aft takes it, or the folder of `--clean`, as it is.
  private func trainingSet(_ attack: AttackFile?) throws -> TrainingSet {
    var source = data
    if let clean {
      source.data = clean
      source.limit = nil
    }
    return try TrainingSet.load(source, attack: attack, poisonedAlready: poisoned || method == .aft)
  }

  /// A few training images, chosen once and for all, that are taken to be clean; those that are known not to be are
  /// left out.
  private func cleanImages(_ set: TrainingSet) throws -> LabeledImages {
    if clean != nil { return set.images }
    let count = max(1, Int((cleanFraction * Double(set.images.count)).rounded()))
    guard let roles = set.poison?.roles else {
      return try set.images.limited(to: count, seed: common.seed)
    }
    return try set.images.subset(roles.indices.filter { roles[$0] == .clean })
      .limited(to: count, seed: common.seed)
  }

  private func observer(
    _ weights: Weights, _ specification: NetworkSpecification, _ evaluator: Evaluator, _ log: Logger
  ) -> DefenseObserver {
    var observer = DefenseObserver()
    observer.progress = { what, share in
      try Interruption.check(stopped)
      Terminal.shared.progress(what, share)
    }
    observer.log = { log.info("\($0)") }
    observer.finished = { step in
      try save(weights, specification, to: "\(output)/step-\(step).safetensors")
      let metrics = try evaluator.evaluate { _ in try Interruption.check(stopped) }
      log.info("after step \(step + 1) (step-\(step).safetensors): \(Self.summary(metrics))")
      return metrics
    }
    return observer
  }

  /// What is left after an interruption.
  private var stopped: String {
    "the models of the finished steps are in \(output); run the command again to start over"
  }

  private func save(_ weights: Weights, _ specification: NetworkSpecification, to path: String) throws {
    try ModelFile.save(
      weights, specification,
      provenance: [
        "created_by": "pbe-gpu \(PBEGPU.version) erase --method \(method.rawValue)",
        "purified_from": URL(fileURLWithPath: model.model).lastPathComponent, "seed": String(common.seed),
        "precision": weights.backend.device.precision.rawValue,
      ], to: path)
  }

  private static func summary(_ metrics: Metrics) -> String {
    let asr = metrics.asr.map { ", ASR \(Output.percent($0))%" } ?? ""
    let ra = metrics.ra.map { ", RA \(Output.percent($0))%" } ?? ""
    let cross = metrics.cross.map { ", cross \(Output.percent($0))%" } ?? ""
    return "ACC \(Output.percent(metrics.acc))%\(asr)\(ra)\(cross)"
  }
}
