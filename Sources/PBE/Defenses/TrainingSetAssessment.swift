import Kernels

/// What a progressive defense learns of the training set by scoring it after each step.
struct TrainingSetAssessment {
  /// What the infected model computes of each image.
  let infected: Identification.Infected
  private(set) var outcome: PurificationOutcome
  private let session: DefenseSession
  private let labels: [Int32]
  private let truth: [ImageRole]?
  private let after: Scorer
  private let agreement: AgreementPlan

  /// Scores the session's model, which is the infected one still.
  ///
  /// - Parameters:
  ///   - labels: those of the training set.
  ///   - truth: what each image is, for the report only; `nil` where nobody knows.
  init(
    _ session: DefenseSession, training: DeviceImages, labels: [Int32], truth: [ImageRole]?
  ) throws {
    self.session = session
    self.labels = labels
    self.truth = truth
    outcome = PurificationOutcome(training.count)
    let before = try Scorer(session.weights, data: training, keepsFeatures: true)
    after = try Scorer(session.weights, data: training)
    agreement = try AgreementPlan(before.logits, after.logits, on: session.weights.backend)
    try session.score(before)
    guard let features = before.features else { throw PBEError(.internal, "the scorer keeps no features") }
    let backend = session.weights.backend
    infected = Identification.Infected(
      logits: try backend.read(before.logits), features: try backend.read(features),
      channels: features.shape.c, places: features.shape.h * features.shape.w)
  }

  /// A new step's report. `taught` are the labels that it fine-tunes `extraSet` on, where those are not the training set's.
  mutating func begin(step: Int, extraSet: [Int], taught: [Int32]? = nil) -> StepReport {
    var report = StepReport(step: step, extraSet: extraSet, truth: truth)
    if let taught { report.relabelled = extraSet.count { taught[$0] != labels[$0] } }
    for index in extraSet where taught.map({ $0[index] == labels[index] }) ?? true {
      outcome.kept[index].append(step)
    }
    return report
  }

  /// Scores the model as the step has left it, saves and measures it, and completes the step's report. What was found
  /// `earlier` stays so. The next two are ``Identification``'s; the agreement does without the `unanswered` classes, of
  /// which the model's logits say nothing. What is found counts as it is after `examined`.
  mutating func finish(
    _ report: StepReport, after earlier: Identification? = nil, usesFeatures: Bool = true,
    usesConfidences: Bool = true, unanswered: Set<Int32> = [],
    examined: (Identification) -> Identification = { $0 }
  ) throws -> Identification {
    var report = report
    let backend = session.weights.backend
    let scores = try session.values("agreement-\(report.step)", scored: labels.count) {
      try session.score(after)
      guard !unanswered.isEmpty else { return try agreement.run() }
      return try AgreementPlan(
        infected.logits, backend.read(after.logits), classes: session.weights.graph.classes,
        without: unanswered, on: backend
      ).run()
    }
    let purified = try session.values("logits-\(report.step)") { try backend.read(after.logits) }.numbers
    let found = examined(
      Identification(
        infected, purified: purified, labels: labels, earlier: earlier, usesFeatures: usesFeatures,
        usesConfidences: usesConfidences))
    report.metrics = try session.finish(step: report.step)
    report.scoring_seconds = scores.seconds
    report.identification = found.report(truth)
    report.agreement_auroc = truth.flatMap { truth in
      areaUnderROC(scores: scores.numbers.map { -$0 }, isPositive: truth.isPoisoned)
    }
    outcome.agreement = scores.numbers
    outcome.identification = found
    outcome.steps.append(report)
    return found
  }
}
