import ArgumentParser
import Kernels
import PBE

/// The poster's theorem beside measurements.
struct TheoremCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "theorem",
    abstract:
      "The theorem's bound on how far adversarial perturbations follow the trigger, beside measurements.",
    discussion: """
      Without options: the bound over a grid, and measurements on a linear model that can be solved by hand and on \
      softmax regression. With --strength, --trigger-norm and --margin: one bound. With --model, --attack, --data and \
      --dataset: a deep model. docs/observations.md explains the symbols.
      """)

  @Option(help: "l, the strength of what the attack planted.")
  var strength: Double?

  @Option(help: "|P|, the length of the trigger.")
  var triggerNorm: Double?

  @Option(help: "tau, the margin of the clean image's logit.")
  var margin: Double?

  @Option(help: "K, the number of classes that compete with the right one.")
  var competitors: Int?

  @Option(help: "The number of classes, K + 1. Default: 10.")
  var classes: Int?

  @Option(help: "A deep model to measure; see inspect.")
  var model: String?

  @Option(help: "Its attack, as a JSON file.")
  var attack: String?

  @Option(help: "A benign model of the same network, to compare with.")
  var benign: String?

  @Option(help: "The folder of the data set.")
  var data: String?

  @Option(help: "The data set in it.")
  var dataset: DatasetKind?

  @Option(help: "Use only so many test images.")
  var testLimit: Int?

  @OptionGroup var pictures: PictureOptions

  @Option(help: "The deep model's network, if its file doesn't record it.")
  var architecture: Architecture?

  @OptionGroup(title: "Adversarial examples of the deep model") var options: InspectionOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "An SVG file to draw bounds and measurements to.")
  var plot: String?

  func validate() throws {
    for (name, value) in [("--strength", strength), ("--trigger-norm", triggerNorm), ("--margin", margin)] {
      if let value, !(0...1e6).contains(value) { throw ValidationError("\(name) must be 0 to 1000000") }
    }
    let numbers = [strength, triggerNorm, margin].compactMap { $0 }.count
    guard numbers == 0 || numbers == 3 else {
      throw ValidationError("one bound takes --strength, --trigger-norm and --margin")
    }
    guard competitors == nil || classes == nil else {
      throw ValidationError("give --competitors or --classes, not both")
    }
    guard (1...1_000_000).contains(competitors ?? 1), (2...1_000_000).contains(classes ?? 2) else {
      throw ValidationError("--competitors must be at least 1, --classes at least 2")
    }
    // Solving by hand takes memory and time that grow with the square.
    let most = numbers == 3 ? 1_000_000 : 1000
    guard competitors ?? 1 < most, classes ?? 2 <= most else {
      throw ValidationError("--classes must be at most \(most)")
    }
    let files = [model, attack, data, dataset?.rawValue].compactMap { $0 }.count
    guard files == 0 || files == 4 else {
      throw ValidationError("a deep model takes --model, --attack, --data and --dataset")
    }
    guard benign == nil || model != nil else { throw ValidationError("--benign goes with --model") }
    let isDeepOption =
      testLimit != nil || pictures.options != DatasetOptions() || architecture != nil
      || options.isGiven || common.device != "auto"
      || common.products.precision != nil
    guard model != nil || !isDeepOption else {
      throw ValidationError(
        "--test-limit, --image-size, --test-fraction, --grey, --architecture, --device, --precision and options of adversarial examples go with --model"
      )
    }
    guard model == nil || competitors == nil && classes == nil else {
      throw ValidationError("--competitors and --classes have no use for a deep model")
    }
    if let testLimit, testLimit < 1 { throw ValidationError("--test-limit must be at least 1") }
    guard plot == nil || numbers == 0 else {
      throw ValidationError("--plot draws measurements: one bound has none")
    }
    guard numbers == 0 || common.seed == 0 else { throw ValidationError("one bound draws nothing by --seed") }
    guard model == nil || numbers == 0 else {
      throw ValidationError("--strength, --trigger-norm and --margin have no use for a deep model")
    }
  }

  private struct Bound: Encodable {
    var strength: Double, triggerNorm: Double, margin: Double, competitors: Int, bound: Double
  }

  private struct Record: Encodable {
    var limit = AlignmentBound.limit
    var bounds: [Bound] = []
    var linear: [BoundCheck]?
    var softmax: [GaussianProblem.Result]?
    var deep: DeepAlignment?
    var seed: UInt64?
    var device: String?, model: String?
    var note = TheoremCommand.note
  }

  private static let note =
    "Where a measurement is below the bound, that does not refute the theorem: the poster leaves out its assumptions and "
    + "what its symbols mean, so that l, tau and K are readings of ours."

  func run() throws {
    Terminal.shared.configure(quiet: common.quiet)
    let k = competitors ?? (classes ?? 10) - 1
    var record = Record()
    if let plot {
      for file in [model, benign, attack].compactMap(\.self) {
        try Output.check(file, isNot: plot, option: "--plot")
      }
    }
    if model != nil {
      try measureDeep(&record)
    } else if let strength, let triggerNorm, let margin {
      record.bounds = [bound(strength, triggerNorm, margin, k)]
    } else {
      record.bounds = [0.1, 1, 10].flatMap { u in [0, 2, 4, 8, 16].map { bound(u, 1, $0, k) } }
      record.linear = ClosedForm.checks(competitors: k)
      var problem = GaussianProblem()
      problem.seed = common.seed
      record.seed = common.seed
      record.softmax = try [0, 1, 2, 3].map { norm in
        try Interruption.check("run the command again")
        Terminal.shared.progress("softmax regression", norm / 4)
        return problem.result(triggerNorm: norm)
      }
      Terminal.shared.clear()
    }
    if let plot { try AtomicFile.write(BoundPlot(series(record)).svg, to: plot) }
    if common.json { return try Output.json(record) }
    try print(record)
  }

  private func bound(_ l: Double, _ norm: Double, _ margin: Double, _ k: Int) -> Bound {
    Bound(
      strength: l, triggerNorm: norm, margin: margin, competitors: k,
      bound: AlignmentBound.value(strength: l, triggerNorm: norm, margin: margin, competitors: k))
  }

  private func measureDeep(_ record: inout Record) throws {
    guard let model, let attack, let data, let dataset else { return }
    let (backend, _) = try common.open()
    let all = try dataset.load(directory: data, split: .test, options: pictures.options)
    let test = try testLimit.map { try all.limited(to: $0) } ?? all
    let network = try ModelOptions.parse(
      (architecture.map { ["--architecture=\($0.rawValue)"] } ?? []) + ["--", model])
    let subject = try LoadedModel(network, model, for: test, on: backend)
    let control = try benign.map { try LoadedModel(network, $0, for: test, on: backend) }
    record.deep = try DeepAlignment(
      subject.weights, benign: control?.weights, test: test, attack: AttackFile.load(attack),
      settings: options.settings(imageSize: test.imageSize, seed: common.seed)
    ) { share in
      try Interruption.check("run the command again")
      Terminal.shared.progress("measuring", share)
    }
    Terminal.shared.clear()
    (record.seed, record.device, record.model) = (common.seed, backend.device.identifier, model)
  }

  private func series(_ record: Record) -> [(name: String, checks: [BoundCheck])] {
    [
      ("linear model", record.linear ?? []),
      ("softmax regression", (record.softmax ?? []).filter { $0.triggerNorm > 0 }.map(\.check)),
      // Of a model whose target the trigger does not raise the theorem says nothing.
      ("deep model", (record.deep.flatMap { $0.logitChange > 0 ? $0.rows : nil } ?? []).map(\.check)),
    ].filter { !$0.1.isEmpty }
  }

  // MARK: - Printing

  private func print(_ record: Record) throws {
    if !record.bounds.isEmpty {
      try Output.table(
        [["l", "|P|", "tau", "K", "bound"]]
          + record.bounds.map {
            [
              "\($0.strength)", "\($0.triggerNorm)", "\($0.margin)", "\($0.competitors)",
              Output.number($0.bound),
            ]
          })
      try Output.line("No bound exceeds sin(pi/8) = \(Output.number(record.limit)).")
    }
    if let linear = record.linear {
      try Output.line("\nA linear model in closed form (l = c):")
      try table(linear)
    }
    if let softmax = record.softmax {
      let classes = GaussianProblem().classes
      try Output.line(
        "\nSoftmax regression of \(classes) classes (K \(classes - 1)), learned; tau: 5% of the images have smaller margins:"
      )
      try Output.table(
        [["", "ACC", "ASR", "answered with the target", "u", "tau", "bound", "cosine", ""]]
          + softmax.map {
            [
              $0.check.name, Output.percent($0.acc), $0.triggerNorm > 0 ? Output.percent($0.asr) : "-",
              Output.percent($0.targetShare), Output.number($0.check.logitChange),
              Output.number($0.check.margin), Output.number($0.check.bound), Output.number($0.check.cosine),
              $0.triggerNorm > 0 ? verdict($0.check) : "",
            ]
          })
    }
    if let deep = record.deep {
      let says = deep.logitChange > 0
      try Output.line(
        "\(deep.images) images; |P| \(Output.number(deep.triggerNorm)), u \(Output.number(deep.logitChange)), tau "
          + "\(Output.number(deep.lowMargin)) (5% of the images are below), least \(Output.number(deep.leastMargin)) "
          + "(bound \(Output.number(deep.leastBound)))")
      try Output.table(
        [["epsilon", "bound", "cosine", "", "images that reach it", "cosine, benign model"]]
          + deep.rows.map {
            [
              $0.check.name, says ? Output.number($0.check.bound) : "-", Output.number($0.check.cosine),
              says ? verdict($0.check) : "-", says ? Output.percent($0.shareAbove) : "-",
              $0.benignCosine.map(Output.number) ?? "-",
            ]
          })
      if !says {
        try Output.line(
          "The trigger does not raise the target's logit (u): of such a model the theorem says nothing.")
      }
    }
    if series(record).contains(where: { $0.checks.contains(where: \.isViolated) }) {
      try Output.line("\n\(Self.note)")
    }
  }

  private func verdict(_ check: BoundCheck) -> String { check.isViolated ? "violated" : "holds" }

  private func table(_ checks: [BoundCheck]) throws {
    try Output.table(
      [["", "bound", "cosine", ""]]
        + checks.map { [$0.name, Output.number($0.bound), Output.number($0.cosine), verdict($0)] })
  }
}
