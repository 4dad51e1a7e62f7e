import Kernels

/// Progressive erasing with pbe-gpu's own recipe: like ``ProgressiveErasing`` it needs no clean data, and each step's
/// better model finds the poison better; unlike it, it uses the poison that it has found.
///
/// - The witness: the infected model is shrunk until little of it is left (``Weights/shrink(keeping:seed:)``), and learns
///   again, from the infected model's answers, what that one knows of images that seem clean. Few poisoned images among
///   them don't teach the trigger in so short a time, but are enough to keep alive a trigger that a model knows already:
///   hence the shrinking. At first these are images that the infected model answers as they are labelled, but not firmly:
///   most triggers make answers firm. Then they are those about which the witness agrees most with it, without those that
///   seem to carry a trigger.
/// - The holdout: some triggers are so easy to learn, or so frequent among the images of their label, that any witness of
///   that label learns them. So the witness at first sees nothing of labels whose images fall apart into two groups
///   (``LabelSplit``), nor can it or its teacher answer so; later it sees only what seems clean of them. What was found
///   when it had not seen the label stays found: clean images of the label are enough to remind it of the trigger. If it
///   is reminded, its earlier answers to what was found count.
/// - The repair: what the witness disputes leads ``Identification`` to the images with a trigger. The infected model itself,
///   which knows more than the witness, is fine-tuned on all images; those get the answers of the purified model as labels,
///   and teach that the trigger means nothing. Then once more, with the repaired model as witness. Where no image seems to
///   carry a trigger the model stays as it is.
public struct AutomaticErasing: Sendable, Codable, Hashable {
  /// How it trains; the learning rates are those of `learning_rates`.
  public var tuning: TrainingSettings
  /// What the witness keeps of the infected model's weights.
  public var keeping: Float = 0.35
  /// The temperature of the infected model's answers, as a teacher.
  public var temperature: Float = 4
  /// The first step takes the images between these shares of those of each label, by increasing margin of the infected
  /// model.
  public var band = [0.05, 0.35]
  /// Each later step of the witness takes this share of the images of each label, those where the witness agrees most with
  /// the infected model.
  public var shares = [0.7]
  /// Epochs of each step: of the witness's, then of the repair's.
  public var epochs = [4, 3, 2, 3]
  /// The fewest batches of each step: where there are few images, it takes more epochs.
  public var fewest_batches = [350, 600, 200, 300]
  /// The learning rate that each step begins with; it falls to zero along half a cosine.
  public var learning_rates: [Float] = [0.05, 0.05, 0.05, 0.03]

  /// A witness must answer this share of the images as labelled, of those that the infected model answers so: one that has
  /// learned less can't tell a trigger from a hard image, and to believe it destroys the model.
  public var least_knowledge = 0.5

  /// Parts that are left out, to see what they are worth.
  public var without: [Part] = []

  /// A part of the recipe that can be left out.
  public enum Part: String, Sendable, Codable, CaseIterable {
    /// The witness is the infected model as it is, fine-tuned.
    case shrinking
    /// The witness learns the labels.
    case distillation
    /// The choice of unfirm answers for the first step: as many images at random.
    case band
    /// The later steps of the witness.
    case progression
    /// The holdout.
    case holdout
    /// ``TriggerDiscriminant``: all images are suggested that the models dispute.
    case discriminant
    /// New labels for suggested images: they are left out.
    case relabelling
    /// The second identification: all of the repair uses the first.
    case repetition
  }

  /// The defaults.
  public init() {
    tuning = TrainingSettings()
    tuning.nesterov = true
    // Hardly any are longer, except where a network diverges (docs/trials.md).
    tuning.gradient_length = 20
  }

  /// Purifies the session's model.
  ///
  /// - Parameters:
  ///   - training: the training set that the model was infected by.
  ///   - labels: its labels.
  ///   - truth: what each image is, for the report only; `nil` where nobody knows.
  /// - Throws: `badData` when the images don't suffice for a witness.
  public func run(
    _ session: DefenseSession, training: DeviceImages, labels: [Int32], truth: [ImageRole]?
  ) throws -> PurificationOutcome {
    guard Set(labels).count > 1 else {
      throw PBEError(
        .badData, "all \(labels.count) training images have one label, which teaches nothing",
        at: "--method pbe", remedy: "use the whole training set")
    }
    session.plan(work: work(training.count))
    let weights = session.weights
    let infected = try Weights(weights.graph, on: weights.backend)
    try infected.copy(from: weights)
    var assessment = try TrainingSetAssessment(
      session, training: training, labels: labels, truth: truth)
    var found = try witness(session, training, labels, &assessment, infected)
    try check(found, assessment, labels)
    try session.change { try weights.copy(from: infected) }
    guard found.suggested.contains(true) else {
      session.observer.log(
        "no image seems to carry a trigger: the model stays as it is, which does not mean that it has no backdoor"
      )
      _ = try assessment.finish(
        assessment.begin(step: witnessSteps, extraSet: []), usesFeatures: usesFeatures)
      return assessment.outcome
    }
    for step in witnessSteps..<epochs.count {
      let suspects = Set(found.labels)
      let taught = labels.indices.map { found.suggested[$0] ? found.answers[$0] : labels[$0] }
      // Where the purified model, too, answers as the attacker wants, nobody knows a better label. And of a label that the
      // attacker gave, images that are disputed are no good examples unless they look clean.
      let extra = labels.indices.filter { index in
        found.suggested[index]
          ? taught[index] != labels[index] && !without.contains(.relabelling)
          : !(found.isDisputed[index] && found.probabilities[index] > Self.looksClean
            && suspects.contains(labels[index]))
      }
      var report = assessment.begin(step: step, extraSet: extra, taught: taught)
      _ = try session.makeTrainer(DeviceImages(sharing: training, labels: taught), tuning)
      try train(session, step, on: extra, &report)
      let next = try assessment.finish(report, after: found, usesFeatures: usesFeatures)
      if !without.contains(.repetition) { found = next }
    }
    return assessment.outcome
  }

  /// Makes the session's model the witness.
  private func witness(
    _ session: DefenseSession, _ training: DeviceImages, _ labels: [Int32],
    _ assessment: inout TrainingSetAssessment, _ infected: Weights
  ) throws -> Identification {
    let margins = Answers(assessment.infected.logits, labels: labels).margins
    let splits = without.contains(.holdout) ? [] : LabelSplit.all(assessment.infected, labels)
    if let missing = LabelSplit.missingImages(assessment.infected, labels) {
      session.observer.log(
        "no label has the \(missing) images, one and a half for each of the network's features, "
          + "that it takes to see two groups in them: a trigger that most images of a label carry may be missed"
      )
    }
    let heldOut = Set(splits.map(\.label))
    try session.change {
      if !without.contains(.shrinking) { try session.weights.shrink(keeping: keeping, seed: tuning.seed) }
      try session.weights.forget(heldOut, bias: Self.neverAnswered)
    }
    if !splits.isEmpty {
      session.observer.log(
        "the images of label \(splits.map { "\($0.label)" }.joined(separator: ", ")) fall apart into two groups: "
          + "the first step sees nothing of them")
    }
    var extra = Self.ofEachLabel(
      labels.indices.filter { margins[$0] > 0 && !heldOut.contains(labels[$0]) }, labels,
      inOrderOf: margins, from: band[0], to: band[1])
    if without.contains(.band) {
      extra = Permutation.of(labels.count, seed: tuning.seed, purpose: RandomPurpose.extraSet)
        .filter { !heldOut.contains(labels[$0]) }.prefix(extra.count).sorted()
    }
    func learn(
      _ step: Int, _ extra: [Int], without classes: Set<Int32> = [], after earlier: Identification? = nil,
      examined: (Identification) -> Identification
    ) throws -> Identification {
      var report = assessment.begin(step: step, extraSet: extra)
      _ = try session.makeTrainer(training, tuning, teacher: teacher(infected, without: classes))
      try train(session, step, on: extra, &report)
      return try assessment.finish(
        report, after: earlier, usesFeatures: usesFeatures, usesConfidences: classes.isEmpty,
        unanswered: classes, examined: examined)
    }

    var found = try learn(0, extra, without: heldOut) {
      splits.isEmpty ? $0 : $0.examining(splits, labels: labels)
    }
    if !splits.isEmpty {
      session.observer.log("\(found.suggested.count { $0 }) images seem to carry a trigger")
    }
    guard !without.contains(.progression) else { return found }
    let earlier = splits.isEmpty ? nil : found
    if !splits.isEmpty { try session.change { try session.weights.forget(heldOut) } }
    for step in 1..<witnessSteps {
      extra = Self.ofEachLabel(
        labels.indices.filter { !found.suggested[$0] }, labels,
        inOrderOf: assessment.outcome.agreement.map { -$0 }, from: 0, to: shares[step - 1])
      found = try learn(step, extra, after: earlier) {
        guard let earlier else { return $0 }
        return $0.doubtingRelapse(after: earlier, of: heldOut, labels: labels)
      }
    }
    return found
  }

  /// The infected model as the witness's teacher, which never gives some answers.
  func teacher(_ infected: Weights, without classes: Set<Int32>) throws -> Teacher? {
    guard !without.contains(.distillation) else { return nil }
    guard !classes.isEmpty else { return Teacher(infected, temperature: temperature) }
    let unaware = try Weights(infected.graph, on: infected.backend)
    try unaware.copy(from: infected)
    try unaware.forget(classes, bias: Self.neverAnswered)
    return Teacher(unaware, temperature: temperature)
  }

  private func check(_ found: Identification, _ assessment: TrainingSetAssessment, _ labels: [Int32]) throws {
    let known = Answers(assessment.infected.logits, labels: labels).margins.map { $0 > 0 }
    let kept = labels.indices.count { known[$0] && found.answers[$0] == labels[$0] }
    let share = Double(kept) / Double(max(1, known.count { $0 }))
    guard share < least_knowledge else { return }
    throw PBEError(
      .badData,
      "of the \(known.count { $0 }) training images that the model answers as labelled the shrunk model learned "
        + "\(Int(100 * share))% again, too few to tell poisoned images by",
      at: "step \(witnessSteps)/\(epochs.count)",
      remedy: "use more training images, or some clean ones with --method aft")
  }

  /// Epochs of a step on so many images.
  private func epochs(_ step: Int, on images: Int) -> Int {
    let batches = (images + tuning.batch - 1) / tuning.batch
    return max(epochs[step], (fewest_batches[step] + batches - 1) / max(1, batches))
  }

  private func train(
    _ session: DefenseSession, _ step: Int, on extra: [Int], _ report: inout StepReport
  ) throws {
    try session.train(
      on: extra, epochs: epochs(step, on: extra.count), label: "step \(step + 1)/\(epochs.count)",
      into: &report,
      rate: { Schedule.cosine.rate(learning_rates[step], share: $0) })
  }

  /// The bias of a class that is not to be answered. Without it a class that is never taught has a logit near zero, and a
  /// trigger makes the others smaller than that.
  private static let neverAnswered: Float = -100

  /// Below this probability of a trigger an image looks clean. A class of which the purified model knows nothing yet is
  /// disputed as a whole, and would be forgotten.
  private static let looksClean = 1e-9

  private var witnessSteps: Int { 1 + shares.count }

  private var usesFeatures: Bool { !without.contains(.discriminant) }

  /// Of each label the images between two shares of its `images` in ascending order of a number, but of none more than
  /// the labels have on average: an attacker's label has too many.
  static func ofEachLabel(
    _ images: [Int], _ labels: [Int32], inOrderOf values: [Float], from low: Double, to high: Double
  ) -> [Int] {
    let byLabel = Dictionary(grouping: images) { labels[$0] }
    let most = (high - low) * Double(images.count) / Double(max(1, byLabel.count))
    return byLabel.values.flatMap { images -> ArraySlice<Int> in
      let order = images.sorted { (values[$0], $0) < (values[$1], $1) }
      let first = Int(low * Double(order.count))
      let end = min(order.count, Int((high * Double(order.count)).rounded(.up)))
      return order[first..<max(first, end)].prefix(Int(most.rounded(.up)))
    }.sorted()
  }

  private func work(_ count: Int) -> Double {
    let taught = without.contains(.distillation) ? 1 : 1 + DefenseSession.scoringCost
    let scorings = Double(epochs.count + 1) * DefenseSession.scoringCost * Double(count)
    return epochs.indices.reduce(scorings) { sum, step in
      let isWitness = step < witnessSteps
      let share = step == 0 ? band[1] - band[0] : isWitness ? shares[step - 1] : 1
      let images = share * Double(count)
      return sum + (isWitness ? taught : 1) * images * Double(epochs(step, on: Int(images)))
    }
  }
}
