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
      pbe (progressive backdoor erasing) needs the training set the model was made from, and no clean data; \
      aft (adversarial fine-tuning) and the baselines fine-tuning, fine-pruning and ft-sam need clean images. \
      Writes model.safetensors, step-N.safetensors, report.json and, for pbe, agreement.csv (which images look \
      poisoned) to --output; --report adds a page to look at. Without --attack the trigger stays unknown, as it is to a defender, and only accuracy is reported. \
      checkpoint.safetensors holds the state after the last epoch, or after the last step when the run was interrupted: \
      the same command with --resume goes on from it.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var data: DataOptions
  @OptionGroup var common: CommonOptions
  @OptionGroup(title: "Defense") var defense: DefenseOptions

  @Option(
    help:
      "The attack, as a JSON file: to score by and, with pbe, to poison the training set, unless that was written by poison."
  )
  var attack: String?

  @Flag(
    help:
      "The training images carry their triggers already, unknown to everybody: --attack is to score by only.")
  var poisoned = false

  @Option(help: "The folder to write to. The results of an earlier run there are replaced.")
  var output: String

  @Option(
    help:
      "aft and baselines: a folder with clean images, laid out as the data set; its training split is used.")
  var clean: String?

  @Option(
    help:
      "aft and baselines: the share of the training split to use as clean images when --clean is not given. Default: 0.05."
  )
  var cleanFraction: Double?

  @Option(
    help:
      "Afterwards train a copy of the purified model on so many poisoned images, for 5 epochs: how quickly does the backdoor come back?"
  )
  var relapse: Int?

  @Flag(help: "Go on from the checkpoint in --output. Without one, start; when all is done, do nothing.")
  var resume = false

  @Flag(help: "At the end write report.html to --output, with contact sheets (help report).")
  var report = false

  func validate() throws {
    if let cleanFraction, !(cleanFraction > 0 && cleanFraction <= 1) {
      throw ValidationError("--clean-fraction must be above 0 and at most 1")
    }
    guard cleanFraction == nil || !defense.usesTrainingSet && clean == nil else {
      throw ValidationError("--clean-fraction is for the methods that need clean images, without --clean")
    }
    guard clean == nil || data.limit == nil else {
      throw ValidationError("--limit has no use with --clean: all images there are taken")
    }
    guard clean == nil || !defense.usesTrainingSet else {
      throw ValidationError("--clean is for the methods that need clean images, not for --method pbe")
    }
    guard !poisoned || defense.usesTrainingSet else {
      throw ValidationError("--poisoned is for --method pbe: the others don't use the training set's poison")
    }
    guard (1...10_000).contains(relapse ?? 1) else { throw ValidationError("--relapse must be 1 to 10000") }
  }

  func run() throws {
    let paths = files
    let (backend, log) = try common.open(resuming: resume ? paths.checkpoint : nil)
    let test = try data.test()
    let attackFile = try attack.map { try AttackFile.load($0) } ?? data.poisonedAttack()
    // Read before the long work begins: a missing or damaged file is known at once.
    let set = try trainingSet(attackFile, test)
    // After the set: a poisoned one tells which options it is to be read with, the model only that these are wrong.
    let file = try model.load(for: test)
    let relapse = try relapseSet(set)
    let clean = defense.usesTrainingSet ? nil : try cleanImages(set)
    let plan = defense.plan(flips: data.flips, seed: common.seed)
    let settings = ErasureSettings(
      defense: plan, model_checksum: file.state.checksum, dataset: data.dataset.rawValue,
      data_checksum: set.images.checksum, test_checksum: test.checksum,
      mean: file.specification.mean.nilIfEmpty, std: file.specification.deviation.nilIfEmpty,
      attack: try attackFile?.identity(),
      carries_triggers: defense.usesTrainingSet && attackFile != nil && set.carriesTriggers ? true : nil,
      clean_fraction: defense.usesTrainingSet || self.clean != nil ? nil : usedFraction,
      clean_checksum: set.poison == nil ? nil : clean?.checksum,
      relapse: self.relapse,
      // Elsewhere it is the set that the defense has.
      relapse_data_checksum: self.clean == nil ? nil : relapse?.images.checksum,
      precision: backend.device.precision)
    let identity = try RunIdentity(settings)
    if resume, let found = try paths.finished(identity, as: ErasureSummary.self, log) {
      log.info("\(paths.record) is there: the run is finished")
      try Self.print(found.text, asJSON: common.json)
      if report { try writeReport(log) }
      return
    }
    if case .automaticFineTuning(let aft) = plan { try aft.check(images: clean?.count ?? 0) }
    try paths.check(isNot: model.model)
    let weights = try file.weights(on: backend, place: model.model)
    let evaluator = try Evaluator(weights, test: test, attack: attackFile)
    let events = try paths.begin(
      RunManifest(
        backend.device, identity,
        checksums: [
          "model": settings.model_checksum, "training": settings.data_checksum,
          "test": settings.test_checksum,
        ]), resuming: resume, log)
    try events.ending {
      let before = try measure(
        evaluator, "before", remedy: resume && paths.hasCheckpoint ? paths.remedy : "run the command again",
        log)
      var sheets =
        try report
        ? SheetMaking(
          infected: weights, test: test, attack: attackFile, pgd: defense.pgd.attack, seed: common.seed) : nil

      let session = DefenseSession(
        weights, observer: observer(weights, file.specification, evaluator, events, log),
        checkpoint: paths.checkpoint,
        identity: identity)
      paths.announce(
        resuming: resume, from: resume ? try session.resume() : nil, on: backend.device.identifier, events,
        log)
      var record = ErasureRecord(
        defense, settings: settings, settings_checksum: identity.checksum, device: backend.device,
        seed: common.seed, model: model.model, training: set, before: before)
      let agreement = try purify(session, plan, set, clean, &record, log)
      try session.settle()
      Terminal.shared.clear()
      try save(weights, file.specification, to: paths.model)
      try sheets?.write(
        purified: weights, agreement: agreement, training: { try set.onDevice(backend) }, to: output)
      record.after = record.steps.last?.metrics ?? before
      record.der = Metrics.der(before: before, after: record.after)
      record.relapse = try relapse.flatMap { try relapsed(weights, $0, evaluator, log) }
      record.seconds = session.seconds
      let text = try Output.text(record) + "\n"
      paths.removeSteps(except: Set(record.steps.map(\.step)))
      try AtomicFile.write(text, to: paths.record)
      paths.removeCheckpoint()
      // Neither a page that can't be written costs the results, nor results that can't be printed the page.
      let page = Result { if report { try writeReport(log) } }
      if case .success = page { events.finished(record.after, seconds: record.seconds) }
      try Self.print(text, asJSON: common.json)
      try page.get()
    }
  }

  private func writeReport(_ log: Logger) throws {
    let path = "\(output)/report.html"
    if !InputFile.exists("\(output)/sheets.json") {
      log.info("the report has no contact sheets: the run was made without --report")
    }
    try AtomicFile.write(Report([output], version: PBEGPU.version).html, to: path)
    log.info("the report is in \(path)")
  }

  /// Runs the defense; returns the agreement of each training image, where it looks at them.
  private func purify(
    _ session: DefenseSession, _ plan: DefensePlan, _ set: TrainingSet, _ cleanImages: LabeledImages?,
    _ record: inout ErasureRecord, _ log: Logger
  ) throws -> [Float] {
    let backend = session.weights.backend
    let truth = set.poison
    let labels = truth?.labels ?? set.images.labels
    func training() throws -> DeviceImages {
      log.info(
        "pbe: \(set.images.count) training images, \(truth.map { "\($0.count) poisoned" } ?? "poison unknown")"
      )
      return try set.onDevice(backend)
    }
    func clean(_ epochs: Int) throws -> LabeledImages {
      guard let images = cleanImages else {
        throw PBEError(.internal, "\(defense.method.rawValue) was given no clean images")
      }
      log.info("\(defense.method.rawValue): \(images.count) clean images, \(epochs) epochs")
      return images
    }
    let outcome: PurificationOutcome
    switch plan {
    case .cleanFineTuning(let tuning):
      let images = try clean(tuning.epochs)
      record.steps = try tuning.run(
        session, clean: DeviceImages(images, on: backend), labels: images.labels)
      return []
    case .automaticFineTuning(let aft):
      record.steps = try aft.run(
        session, clean: DeviceImages(clean(aft.epochs.reduce(0, +)), on: backend))
      return []
    case .paper(let pbe):
      outcome = try pbe.run(session, training: training(), labels: labels, truth: truth?.roles)
    case .automatic(let pbe):
      outcome = try pbe.run(session, training: training(), labels: labels, truth: truth?.roles)
    }
    record.steps = outcome.steps
    record.identification = outcome.identification?.report(truth?.roles)
    try AgreementTable.write(
      outcome, labels: labels, truth: truth?.roles, files: set.images.files,
      to: "\(output)/\(AgreementTable.name)")
    return outcome.agreement
  }

  /// The training set with its poison, for `--relapse`. Throws `usage` where nobody knows the poison.
  private func relapseSet(_ set: TrainingSet) throws -> TrainingSet? {
    guard relapse != nil else { return nil }
    let known = try set.poison != nil ? set : poisoned ? nil : TrainingSet.load(data, attack: set.attack)
    guard let known, let poison = known.poison else {
      throw PBEError(
        .usage, "nobody knows which training images are poisoned", at: "--relapse",
        remedy: "give --attack, without --poisoned")
    }
    try relapse.map { try relapseRun($0).check(poison) }
    return known
  }

  private func relapseRun(_ images: Int) -> Relapse {
    var run = Relapse()
    run.images = images
    run.seed = common.seed
    return run
  }

  /// The metrics of the model after a few poisoned images; it has been saved already.
  private func relapsed(
    _ weights: Weights, _ set: TrainingSet, _ evaluator: Evaluator, _ log: Logger
  ) throws -> Metrics? {
    guard let relapse, let poison = set.poison else { return nil }
    let run = relapseRun(relapse)
    try run.run(weights, training: set.onDevice(weights.backend), poison: poison) {
      try Interruption.check(files.remedy)
    }
    return try measure(evaluator, "after \(run.epochs) epochs on \(relapse) poisoned images", log)
  }

  /// The training set, poisoned by the attack or before; methods that need clean images take it, or the folder of
  /// `--clean`, as it is.
  private func trainingSet(_ attack: AttackFile?, _ test: LabeledImages) throws -> TrainingSet {
    var source = data
    if let clean {
      source.data = clean
      source.limit = nil
    }
    let set = try TrainingSet.load(
      source, attack: attack, poisonedAlready: poisoned || !defense.usesTrainingSet)
    if let clean { try set.images.check(sameClassesAs: test, at: clean) }
    guard !poisoned || set.poison == nil else {
      throw PBEError(
        .usage, "the folder tells which of its images are poisoned (attack.json)", at: "--poisoned",
        remedy: "leave --poisoned away")
    }
    return set
  }

  /// A few training images, chosen once and for all, that are taken to be clean; those that are known not to be are
  /// left out.
  private func cleanImages(_ set: TrainingSet) throws -> LabeledImages {
    var images = set.images
    if let roles = set.poison?.roles {
      let rows = roles.indices.filter { roles[$0] == .clean }
      guard !rows.isEmpty else {
        throw PBEError(
          .badData,
          "all \(roles.count) training images are poisoned, and \(defense.method.rawValue) needs clean ones",
          at: clean ?? data.data, remedy: "name a folder with some by --clean")
      }
      images = try images.subset(rows)
    }
    if clean != nil { return images }
    let count = max(1, Int((usedFraction * Double(set.images.count)).rounded()))
    return try images.limited(to: count, seed: common.seed)
  }

  private var usedFraction: Double { cleanFraction ?? 0.05 }

  private func measure(
    _ evaluator: Evaluator, _ what: String, remedy: String? = nil, _ log: Logger
  ) throws -> Metrics {
    let remedy = remedy ?? files.remedy
    let metrics = try evaluator.evaluate { done in
      try Interruption.check(remedy)
      Terminal.shared.progress("evaluating", Double(done) / Double(evaluator.imageCount))
    }
    Terminal.shared.clear()
    log.info("\(what): \(Self.summary(metrics))")
    return metrics
  }

  private func observer(
    _ weights: Weights, _ specification: NetworkSpecification, _ evaluator: Evaluator,
    _ events: RunEvents, _ log: Logger
  ) -> DefenseObserver {
    var observer = DefenseObserver()
    observer.progress = { what, share in
      try Interruption.check(files.remedy)
      Terminal.shared.progress(what, share)
    }
    observer.log = { log.info("\($0)") }
    observer.finished = { step in
      try save(weights, specification, to: "\(output)/step-\(step).safetensors")
      let metrics = try measure(evaluator, "after step \(step + 1) (step-\(step).safetensors)", log)
      var event = RunEvent(.step)
      event.number = step
      event.metrics = metrics
      events.add(event)
      return metrics
    }
    observer.saved = { events.add(RunEvent(.checkpoint)) }
    return observer
  }

  private var files: RunFiles {
    RunFiles(
      output, record: "report.json", others: defense.usesTrainingSet ? [AgreementTable.name] : [])
  }

  private func save(_ weights: Weights, _ specification: NetworkSpecification, to path: String) throws {
    try ModelFile.save(
      weights, specification,
      provenance: [
        "created_by": "pbe-gpu \(PBEGPU.version) erase --method \(defense.method.rawValue)",
        "purified_from": URL(fileURLWithPath: model.model).lastPathComponent, "seed": String(common.seed),
        "precision": weights.backend.device.precision.rawValue,
      ], to: path)
  }

  private static func print(_ text: String, asJSON json: Bool) throws {
    if json { return try Output.json(text: text.trimmingCharacters(in: .newlines)) }
    let result = try JSONDecoder().decode(ErasureSummary.self, from: Data(text.utf8))
    try Output.table(
      MetricsTable.rows(
        [("before", result.before), ("after", result.after)]
          + (result.relapse.map { [("relapse", $0)] } ?? [])))
    if let der = result.der { try Output.line("DER \(Output.percent(der))") }
    if let found = result.identification { try Output.line(found.line) }
  }

  private static func summary(_ metrics: Metrics) -> String {
    let asr = metrics.asr.map { ", ASR \(Output.percent($0))%" } ?? ""
    let ra = metrics.ra.map { ", RA \(Output.percent($0))%" } ?? ""
    let cross = metrics.cross.map { ", cross \(Output.percent($0))%" } ?? ""
    return "ACC \(Output.percent(metrics.acc))%\(asr)\(ra)\(cross)"
  }
}
