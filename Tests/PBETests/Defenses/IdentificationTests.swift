import Kernels
import Testing

@testable import PBE

@Suite("Identification of poisoned images")
struct IdentificationTests {
  /// Images of 5 classes. In the logits what an image shows is 4 above the rest, with noise. The infected model's features
  /// have one for each class and two more: one of noise, and one that a trigger raises. A trigger adds 8 to the logit of its
  /// label in the infected model.
  private struct Made {
    var infected = Identification.Infected(logits: [], features: [], channels: 7, places: 1)
    var purified: [Float] = []
    var labels: [Int32] = [], roles: [ImageRole] = []
    var truth: [Bool] { roles.isPoisoned }
    private var stream: PhiloxStream

    /// Of the images without a trigger at most `most` show class 2; the others show the next one instead.
    init(
      count: Int, poisoned: Int, seed: UInt64, feature: Float = 6, clean most: Int = .max,
      label: (_ shown: Int) -> Int = { _ in 2 }
    ) {
      stream = PhiloxStream(seed: seed, purpose: 0x4944)
      var clean = 0
      for image in 0..<count {
        // Of each class as many.
        var shown = image % 5
        let isPoisoned = poisoned > 0 && image / 5 % (count / poisoned) == 0
        if shown == 2, !isPoisoned {
          clean += 1
          if clean > most { shown = 3 }
        }
        roles.append(isPoisoned ? .poisoned : .clean)
        let given = isPoisoned ? label(shown) : shown
        labels.append(Int32(given))
        for other in 0..<5 {
          let content: Float = other == shown ? 4 : 0
          infected.logits.append(content + noise() + (isPoisoned && other == given ? 8 : 0))
          infected.features.append(content + noise())
          purified.append(content + noise())
        }
        infected.features += [noise(), noise() + (isPoisoned ? feature : 0)]
      }
    }

    /// Of two thirds of the poisoned images another feature shows the trigger, and the purified model's answers are less firm.
    init(partKnown seed: UInt64, poisoned: Int) {
      self.init(count: 10_000, poisoned: poisoned, seed: seed, feature: 8)
      for image in labels.indices where truth[image] && image / 15 % 3 < 2 {
        infected.features[7 * image + 6] -= 8
        infected.features[7 * image + 5] += 8
        for other in 0..<5 { purified[5 * image + other] *= 0.2 }
      }
    }

    /// The purified model answers class 3 where it would answer another.
    init(copying other: Made, withoutClass unseen: Int) {
      self = other
      for image in labels.indices {
        purified[5 * image + 3] = max(purified[5 * image + 3], purified[5 * image + unseen])
        purified[5 * image + unseen] = -8
      }
    }

    mutating func noise() -> Float { (0..<6).reduce(Float(-3)) { sum, _ in sum + stream.nextUniform() } }

    /// Every 5th image is hard for the purified model: it answers another class, firmly.
    mutating func makeHard() {
      for image in stride(from: 0, to: labels.count, by: 5) where image / 5 % 3 == 0 {
        purified[image * 5 + image % 5] -= 8
      }
    }

    var found: Identification { Identification(infected, purified: purified, labels: labels) }
  }

  /// Also those whose label is right: a fifth of the poisoned images show class 2.
  @Test(arguments: [10_000, 4000, 1000, 400]) func findsTriggers(poisoned: Int) throws {
    var made = Made(count: 40_000, poisoned: poisoned, seed: 1)
    made.makeHard()
    let found = made.found
    let report = found.report(made.roles)
    #expect(report.suggested == found.suggested.count { $0 })
    #expect(try #require(report.auroc) > 0.999)
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
    let unsuspected = found.suggested.indices.filter { made.truth[$0] && $0 % 5 == 2 }
    #expect(unsuspected.count { found.suggested[$0] } > unsuspected.count * 9 / 10)
    #expect(found.answers.count == 40_000 && found.labels == [2])
    let disputed = Identification(
      made.infected, purified: made.purified, labels: made.labels, usesFeatures: false)
    #expect(!unsuspected.contains { disputed.suggested[$0] })
    let unknown = found.report(nil)
    #expect(unknown.auroc == nil && unknown.tpr == nil && unknown.suggested == report.suggested)
  }

  /// Cross images count as clean; where there are any, those that nobody touched are also counted apart.
  @Test func ratesOfRoles() throws {
    // By the answers alone the first four images are suggested: both models' are the labels of the others.
    let answers = { (classes: [Int]) in classes.flatMap { [Float($0 == 0 ? 5 : 0), Float($0 == 1 ? 5 : 0)] } }
    let infected = answers([Int](repeating: 0, count: 10))
    let found = Identification(
      Identification.Infected(logits: infected, features: infected, channels: 2, places: 1),
      purified: answers([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]), labels: [Int32](repeating: 0, count: 10),
      usesFeatures: false)
    let roles: [ImageRole] = [
      .poisoned, .poisoned, .cross, .clean, .poisoned, .cross, .clean, .clean, .clean, .clean,
    ]
    let report = found.report(roles)
    #expect(report.suggested == 4 && report.tpr == 2.0 / 3 && report.fpr == 2.0 / 7)
    #expect(report.fpr_untouched == 1.0 / 5)
    let plain = found.report(roles.map { $0 == .cross ? .clean : $0 })
    #expect(plain.fpr == 2.0 / 7 && plain.fpr_untouched == nil && plain.auroc == report.auroc)
    let all = found.report(roles.map { _ in .poisoned })
    #expect(all.tpr == 0.4 && all.fpr == nil)
  }

  /// Where nothing is poisoned nothing is suggested: neither when the models agree, nor when the purified one is merely
  /// worse, nor when it knows nothing of a class.
  @Test func suspectsNothing() {
    var made = Made(count: 10_000, poisoned: 0, seed: 2)
    let agreeing = Identification(made.infected, purified: made.infected.logits, labels: made.labels)
    #expect(agreeing.labels == [] && !agreeing.suggested.contains(true))
    #expect(agreeing.report(made.roles).auroc == nil)
    made.makeHard()
    let disputed = Identification(
      made.infected, purified: made.purified, labels: made.labels, usesFeatures: false)
    #expect(disputed.suggested.count { $0 } > 500, "there is something to be mistaken about")
    #expect(!made.found.suggested.contains(true))
    for image in stride(from: 3, to: 10_000, by: 5) where image % 2 == 0 { made.purified[image * 5 + 3] -= 8 }
    #expect(!made.found.suggested.contains(true))
  }

  /// A class that the purified model doesn't know stands apart as images with a trigger do, and all its images are disputed; but
  /// what it answers to them is little. It is no trigger, and hides none.
  @Test func unknownClass() throws {
    let clean = Made(copying: Made(count: 10_000, poisoned: 0, seed: 2), withoutClass: 1)
    #expect(!clean.found.suggested.contains(true))
    let other = Made(copying: Made(count: 10_000, poisoned: 1000, seed: 8), withoutClass: 1)
    let report = other.found.report(other.roles)
    #expect(report.labels == [2])
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
    // Poison that outnumbers its label's class is found, too: what it shows is of all classes.
    let many = Made(count: 10_000, poisoned: 1000, seed: 8, clean: 100)
    #expect(try #require(many.found.report(many.roles).tpr) > 0.98)
  }

  /// The images that the purified model answers firmly may lead to a part of the poison alone. The rest is found from all that
  /// is disputed of that label, although it disputes most of the label, as most of it is poison.
  @Test func firmSeedsOfAPart() throws {
    let made = Made(partKnown: 12, poisoned: 3333)
    let ofTarget = made.labels.indices.filter { made.labels[$0] == 2 }
    let after = Answers(made.purified, labels: made.labels)
    #expect(2 * ofTarget.count { after.margins[$0] > 0 } < ofTarget.count, "the label seems unknown")
    let report = made.found.report(made.roles)
    #expect(report.labels == [2])
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
  }

  /// An image of a class of which the purified model disputes most may seem to carry the trigger, too. The search for the rest
  /// doesn't begin with all of that class, which would lead it astray.
  @Test func strayOfADisputedClass() throws {
    var made = Made(copying: Made(partKnown: 12, poisoned: 2000), withoutClass: 1)
    let ofClass = made.labels.indices.filter { made.labels[$0] == 1 }
    for image in ofClass {
      // Any other class, and not firmly.
      for other in 0..<5 { made.purified[5 * image + other] = other == 1 ? -8 : 0.2 * made.noise() }
    }
    made.infected.features[7 * ofClass[0] + 6] += 12
    let found = made.found
    #expect(ofClass.filter { found.suggested[$0] } == [ofClass[0]])
    #expect(try #require(found.report(made.roles).tpr) > 0.98)
  }

  /// Nor with a class that it doesn't know, though the attacker gave that label, too: what is left of it shows one class.
  @Test func unknownClassOfAnAttackedLabel() throws {
    let all = Made(count: 20_000, poisoned: 4000, seed: 3, feature: 8, clean: 1600) { ($0 + 1) % 5 }
    var made = Made(copying: all, withoutClass: 2)
    // It looks a little like the trigger.
    for image in made.labels.indices where made.labels[image] == 2 && !made.truth[image] {
      made.infected.features[7 * image + 6] += 4
    }
    let report = made.found.report(made.roles)
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
  }

  /// A trigger that the infected model's features don't show is not made up from what is disputed.
  @Test func withoutFeatures() {
    var made = Made(count: 10_000, poisoned: 1000, seed: 6)
    for index in made.infected.features.indices { made.infected.features[index] = made.noise() }
    let found = made.found
    let disputed = Identification(
      made.infected, purified: made.purified, labels: made.labels, usesFeatures: false)
    #expect(!found.suggested.contains(true) && disputed.suggested.count { $0 } > 700)
  }

  /// A trigger that hardly stands apart from all that images show is found among the images of its label.
  @Test func withinOneLabel() throws {
    var made = Made(count: 20_000, poisoned: 2000, seed: 10, feature: 1)
    let seen = try #require(made.infected.points(Array(made.labels.indices)))
    let truth = try #require(TriggerDiscriminant(seen, seeds: made.truth))
    #expect(truth.separation < Identification.leastSeparation, "the truth itself does not stand apart")
    let report = made.found.report(made.roles)
    #expect(report.labels == [2])
    // A fifth of the poisoned images show what their label says.
    #expect(try #require(report.tpr) > 0.78 && (try #require(report.fpr)) < 0.005)
    // Not where the purified model disputes most of the other group, too, however little. Seeds are as many as before.
    for image in made.labels.indices where made.labels[image] == 2 && !made.truth[image] && image / 5 % 3 > 0
    {
      made.infected.logits[5 * image + 2] = -4
      made.purified[5 * image + 2] = (made.purified[5 * image..<5 * image + 5].max() ?? 0) - 0.01
      made.purified[5 * image + 3] = made.purified[5 * image + 2] + 0.02
    }
    let suggested = made.found.suggested.count { $0 }
    #expect(suggested == 0)
  }

  /// What was found with an earlier purified model stays found, though the later one has learned the trigger again.
  @Test func remembers() {
    let made = Made(count: 10_000, poisoned: 1000, seed: 8)
    let found = made.found
    let relapsed = made.infected.logits
    #expect(!Identification(made.infected, purified: relapsed, labels: made.labels).suggested.contains(true))
    let again = Identification(made.infected, purified: relapsed, labels: made.labels, earlier: found)
    #expect(again.suggested == found.suggested && again.suggested.contains(true) && again.labels == [2])
    #expect(again.answers != found.answers)
  }

  /// A model that has learned the trigger again says nothing of what images with it show: the earlier one's answers to what that
  /// one found stay, and of other labels nothing new counts. One that disputes most of it still is asked itself.
  @Test func doubtsRelapse() {
    var made = Made(count: 10_000, poisoned: 1000, seed: 8)
    let found = made.found
    made.makeHard()
    let images = made.labels.indices.filter { found.suggested[$0] }
    func after(relapsed share: Int, heldOut: Set<Int32> = [2]) -> (
      own: Identification, used: Identification
    ) {
      var purified = made.purified
      for (number, image) in images.enumerated() where number % 10 < share {
        for label in 0..<5 { purified[5 * image + label] = label == 2 ? 8 : Float(label) }
      }
      // Without a discriminant all that is disputed is found.
      let own = Identification(
        made.infected, purified: purified, labels: made.labels, earlier: found, usesFeatures: false)
      return (own, own.doubtingRelapse(after: found, of: heldOut, labels: made.labels))
    }
    let (own, used) = after(relapsed: 9)
    #expect(images.allSatisfy { used.answers[$0] == found.answers[$0] } && used.answers != own.answers)
    #expect(made.labels.indices.allSatisfy { found.suggested[$0] || used.answers[$0] == own.answers[$0] })
    func suggested(_ identification: Identification, of isTarget: Bool) -> [Bool] {
      made.labels.indices.map { identification.suggested[$0] && (made.labels[$0] == 2) == isTarget }
    }
    #expect(suggested(own, of: false).contains(true) && !suggested(used, of: false).contains(true))
    #expect(suggested(used, of: true) == suggested(own, of: true))
    for (own, used) in [after(relapsed: 2), after(relapsed: 9, heldOut: [1])] {
      #expect(used.answers == own.answers && used.suggested == own.suggested)
    }
  }

  /// Nearly all images of the attacker's label may carry the trigger.
  @Test func poisonedThroughAndThrough() throws {
    var made = Made(count: 40_000, poisoned: 4000, seed: 5)
    let kept = made.labels.indices.filter { made.labels[$0] != 2 || made.truth[$0] || $0 % 100 == 7 }
    made.infected.logits = kept.flatMap { made.infected.logits[5 * $0..<5 * $0 + 5] }
    made.infected.features = kept.flatMap { made.infected.features[7 * $0..<7 * $0 + 7] }
    made.purified = kept.flatMap { made.purified[5 * $0..<5 * $0 + 5] }
    made.labels = kept.map { made.labels[$0] }
    made.roles = kept.map { made.roles[$0] }
    let found = made.found
    let report = found.report(made.roles)
    #expect(found.labels == [2])
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
  }

  /// A label that the attacker gave falls apart into what it shows and what carries the trigger, and no other does. A model
  /// that doesn't know the label tells which is which.
  @Test(arguments: [(4000, 2000, 12), (1000, 2000, 12), (400, 2000, 12), (4000, 60, 20)])
  func labelsThatFallApart(poisoned: Int, clean: Int, feature: Float) throws {
    let made = Made(count: 20_000, poisoned: poisoned, seed: 9, feature: feature, clean: clean)
    let splits = LabelSplit.all(made.infected, made.labels)
    #expect(splits.map(\.label) == [2])
    let split = try #require(splits.first)
    let given = made.labels.indices.filter { made.labels[$0] == 2 }
    #expect(split.images.count > given.count * 98 / 100 && Set(split.images).isSubset(of: given))
    // Without class 2 the next one looks most like it.
    let unaware = Made(copying: made, withoutClass: 2)
    let answers = Answers(unaware.purified, labels: made.labels).classes
    let triggered = try #require(split.triggerLogOdds(answers)).map { $0 > 0 }
    let right = zip(split.images, triggered).count { made.truth[$0] == $1 }
    #expect(right > split.images.count * 99 / 100)
    #expect(split.triggerLogOdds(answers.map { _ in 3 }) == nil, "one class looks like few others")
    let untouched = Made(count: 20_000, poisoned: 0, seed: 9)
    #expect(LabelSplit.all(untouched.infected, untouched.labels).isEmpty)
  }

  /// So does the one label of which the groups differ less, if no other label comes near.
  @Test func aLabelThatStandsOut() throws {
    func splits(_ label: (Int) -> Int) -> [LabelSplit] {
      let made = Made(count: 20_000, poisoned: 400, seed: 9, feature: 5, label: label)
      return LabelSplit.all(made.infected, made.labels)
    }
    let split = try #require(splits { _ in 2 }.first)
    #expect(split.label == 2 && split.contrast > 5 && split.contrast < LabelSplit.leastContrast)
    let alike = splits { [2, 3, 2, 3, 4][$0] }.map(\.label)
    #expect(alike == [], "two labels of which the groups differ as much")
  }

  /// The label that stands out is not held out where too little would be left with those that clearly fall apart, where
  /// there is no other to compare it with, and where its groups hardly differ.
  @Test func whatDoesNotStandOut() {
    /// Label 2 stands out unless its trigger is faint; 3 clearly falls apart, but of `few` the difference is small.
    func splits(_ labels: [Int32], faint: Bool = false, few: Bool = false) -> [Int32] {
      let made = Made(count: 40_000, poisoned: 800, seed: 9, feature: 12) { $0 == 3 ? 3 : 2 }
      var (infected, kept, count) = (made.infected, [Int](), 0)
      for image in made.labels.indices {
        let label = made.labels[image]
        if label == 2, made.truth[image] { infected.features[7 * image + 6] -= faint ? 11 : 7 }
        if label == 3, made.truth[image] { infected.features[7 * image + 6] += 12 }
        if label == 3 { count += 1 }
        if labels.contains(label) ? label != 3 || !few || count <= 400 : image < 50 { kept.append(image) }
      }
      infected.logits = kept.flatMap { infected.logits[5 * $0..<5 * $0 + 5] }
      infected.features = kept.flatMap { infected.features[7 * $0..<7 * $0 + 7] }
      return LabelSplit.all(infected, kept.map { made.labels[$0] }).map(\.label)
    }
    #expect(splits([0, 1, 2]) == [2] && splits([0, 1, 2], faint: true) == [])
    #expect(splits([0, 1, 2, 3, 4], few: true) == [2, 3] && splits([0, 2, 3], few: true) == [3])
    #expect(splits([2]) == [], "the others have too few images")
  }

  /// Where no label has the usual number of images, labels with fewer are looked at, but not any.
  @Test func labelsOfFewImages() {
    let made = Made(count: 4000, poisoned: 400, seed: 9, feature: 20)
    func splits(of images: Int, others: Int) -> (labels: [Int32], missing: Int?) {
      var counts: [Int32: Int] = [:]
      let kept = made.labels.indices.filter { image in
        let label = made.labels[image]
        counts[label, default: 0] += 1
        return counts[label, default: 0] <= (label == 2 ? images : others)
      }
      var infected = made.infected
      infected.logits = kept.flatMap { infected.logits[5 * $0..<5 * $0 + 5] }
      infected.features = kept.flatMap { infected.features[7 * $0..<7 * $0 + 7] }
      let labels = kept.map { made.labels[$0] }
      return (LabelSplit.all(infected, labels).map(\.label), LabelSplit.missingImages(infected, labels))
    }
    #expect(splits(of: 30, others: 30) == ([2], nil))
    #expect(splits(of: 30, others: 60) == ([], nil), "others have enough, and don't fall apart")
    #expect(splits(of: 60, others: 30) == ([2], nil))
    #expect(splits(of: 9, others: 9) == ([], 11))
    #expect(splits(of: 9, others: 30) == ([], nil))
  }

  /// What is found of a label that the purified model has not seen counts only where the label's groups say the same.
  @Test func labelsThatAModelHasNotSeen() throws {
    let made = Made(copying: Made(count: 10_000, poisoned: 1000, seed: 9, feature: 12), withoutClass: 2)
    let images = made.labels.indices.filter { made.labels[$0] == 2 }
    let answers = Answers(made.purified, labels: made.labels).classes
    var purified = made.purified
    func examined(_ found: [Bool], _ splits: LabelSplit...) -> [Bool] {
      // All features are alike but one, which says what is found.
      var infected = made.infected
      infected.features = found.map { $0 ? 1 : 0 }
      infected.channels = 1
      let all = Identification(infected, purified: purified, labels: made.labels)
      #expect(all.suggested == found)
      return all.examining(splits, labels: made.labels).suggested
    }
    let split = LabelSplit(
      label: 2, images: images, logOdds: images.map { made.truth[$0] ? 9 : -9 }, contrast: 9)
    let turned = LabelSplit(label: 2, images: images, logOdds: split.logOdds.map { -$0 }, contrast: 9)
    #expect(turned.triggerLogOdds(answers) == split.logOdds && split.triggerLogOdds(answers) == split.logOdds)
    let most = made.truth.indices.map { made.truth[$0] && $0 % 3 > 0 }
    #expect(examined(most, split) == made.truth && examined(most, turned) == made.truth)
    let label = made.labels.map { $0 == 2 }
    #expect(!examined(label, split).contains(true), "the label itself was found")
    // Images of other labels that look like it, and that the purified model disputes, too.
    let alike = label.indices.map { label[$0] || $0 % 50 == 6 }
    let classes = purified.count / label.count
    for image in label.indices where alike[image] && !label[image] {
      let first = image * classes
      purified.swapAt(first + Int(made.labels[image]), first + Int(made.labels[image] + 1) % classes)
    }
    #expect(!examined(alike, split).contains(true), "the label was found, and what looks like it")
    // Of a label whose groups prove nothing neither those images count that the infected model answers otherwise.
    let others = made.labels.indices.filter { made.labels[$0] == 1 && !alike[$0] }
    let next = LabelSplit(
      label: 1, images: others, logOdds: others.map { $0 / 5 % 2 == 0 ? 9 : -9 }, contrast: 9)
    let both = most.indices.map { most[$0] || alike[$0] && made.labels[$0] == 1 }
    #expect(examined(both, split, next) == made.truth && examined(both, split) != made.truth)
    let clean = zip(label, made.truth).map { $0 && !$1 }
    #expect(!examined(clean, split).contains(true), "what was found is not the trigger's group")
    let odd = LabelSplit(
      label: 2, images: images, logOdds: images.map { $0 / 5 % 3 == 0 ? 9 : -9 }, contrast: 9)
    #expect(odd.triggerLogOdds(answers) == nil && !examined(most, odd).contains(true))
  }

  /// A purified model that has not seen a label disputes all of its images: to count that finds the clean ones, too.
  @Test func withoutConfidences() throws {
    let made = Made(
      copying: Made(count: 20_000, poisoned: 4000, seed: 9, clean: 200), withoutClass: 2)
    func share(_ usesConfidences: Bool, poisoned: Bool) -> Double {
      let found = Identification(
        made.infected, purified: made.purified, labels: made.labels, usesConfidences: usesConfidences)
      let images = made.labels.indices.filter { made.labels[$0] == 2 && made.truth[$0] == poisoned }
      return Double(images.count { found.suggested[$0] }) / Double(images.count)
    }
    #expect(share(true, poisoned: false) > 0.5 && share(false, poisoned: false) < 0.01)
    #expect(share(false, poisoned: true) > 0.95)
  }

  /// Every label may be the attacker's (all-to-all): there, triggered images have the label that follows theirs.
  @Test func allToAll() throws {
    var made = Made(count: 20_000, poisoned: 2000, seed: 3) { ($0 + 1) % 5 }
    made.makeHard()
    let found = made.found
    #expect(found.labels == [0, 1, 2, 3, 4])
    let report = found.report(made.roles)
    #expect(try #require(report.tpr) > 0.98 && (try #require(report.fpr)) < 0.005)
    // Nothing would be left to learn from.
    func splits(poisoned: (Int) -> Int) -> [LabelSplit] {
      let made = Made(count: 20_000, poisoned: 2000, seed: 3, feature: 12, label: poisoned)
      return LabelSplit.all(made.infected, made.labels)
    }
    #expect(splits { ($0 + 1) % 5 }.isEmpty)
    #expect(splits { [1, 0, 0, 1, 0][$0] }.map(\.label) == [0, 1])
  }

  /// Features that have a place in the image are averaged over it.
  @Test func places() {
    var made = Made(count: 5000, poisoned: 500, seed: 7)
    let found = made.found
    made.infected.features = made.infected.features.flatMap { [$0 - 3, $0 + 3, $0, $0] }
    made.infected.places = 4
    #expect(made.found.suggested == found.suggested && found.suggested.contains(true))
  }

  /// The direction of largest variance comes first, then others at right angles; together they have all of it.
  @Test func principalScores() throws {
    var stream = PhiloxStream(seed: 4, purpose: 0x4944)
    let spreads: [Float] = [1, 3, 10]
    let count = 5000
    let table = (0..<count).flatMap { _ -> [Float] in
      let common = stream.nextUniform()
      return spreads.map { $0 * stream.nextUniform() + common }
    }
    let points = try #require(FeaturePoints(table, images: Array(0..<count), channels: 3, places: 1))
    let scores = points.principalScores(5)
    #expect(scores.count == 3)
    func mean(_ a: [Double], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
    }
    let variances = scores.map { mean($0, $0) }
    #expect(variances == variances.sorted(by: >))
    var total = 0.0
    for column in 0..<3 {
      let values = (0..<count).map { Double(table[3 * $0 + column]) }
      let middle = values.reduce(0, +) / Double(count)
      let centred = values.map { $0 - middle }
      total += mean(centred, centred)
    }
    #expect(abs(variances.reduce(0, +) - total) < 1e-3 * total)
    for (a, b) in [(0, 1), (0, 2), (1, 2)] { #expect(abs(mean(scores[a], scores[b])) < 1e-3 * total) }
  }

  @Test func cholesky() throws {
    let factor = try #require(
      Cholesky.factor([4, 9, 9, 2, 5, 9, 0, 1, 3], 3), "only the lower triangle is read")
    let x = Cholesky.solve(factor, [2, -1, 7])
    for (row, right) in zip([[4.0, 2, 0], [2, 5, 1], [0, 1, 3]], [2.0, -1, 7]) {
      #expect(abs(zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } - right) < 1e-12)
    }
    for (found, right) in zip(Cholesky.multiply(factor, x), [2.0, -1, 7]) {
      #expect(abs(found - right) < 1e-12)
    }
    #expect(Cholesky.factor([1, 0, 2, 1], 2) == nil, "it is not positive definite")
  }

  @Test func answers() {
    let answers = Answers([1, 3, 2, 5, 5, 0], labels: [1, 2])
    #expect(answers.classes == [1, 0])
    #expect(answers.margins == [1, -5])
    #expect(answers.leads == [1, 0])
    #expect(abs(answers.confidences[0] + 0.407606) < 1e-5)
  }

  /// The least active features go first, until the accuracy suffers.
  @Test func featurePruning() {
    // Feature 0 tells the two classes apart, feature 2 is never active, feature 1 hardly and does nothing.
    let features: [Float] = [4, 0.1, 0, 0.5, 0.1, 0, 4, 0.1, 0, 0.5, 0.1, 0]
    let matrix: [Float] = [1, 0, 3, -1, 0, 5]
    let bias: [Float] = [-2, 2]
    var logits: [Float] = []
    for image in 0..<4 {
      for label in 0..<2 {
        var sum = bias[label]
        for feature in 0..<3 { sum += matrix[label * 3 + feature] * features[image * 3 + feature] }
        logits.append(sum)
      }
    }
    let kept = FeaturePruning.keep(
      features: features, logits: logits, matrix: matrix, count: 3, labels: [0, 1, 0, 1], tolerance: 0.1)
    #expect(kept == [1, 0, 0])
    // The last feature always stays, whatever the tolerance.
    let all = FeaturePruning.keep(
      features: features, logits: logits, matrix: matrix, count: 3, labels: [0, 1, 0, 1], tolerance: 1)
    #expect(all == [1, 0, 0])
    // A feature that matters ends it.
    let some = FeaturePruning.keep(
      features: [4, 0.1, 0, 4, 0.3, 0], logits: [-1, 0, 1, 0], matrix: [0, 10, 0, 0, 0, 0], count: 3,
      labels: [1, 0], tolerance: 0.1)
    #expect(some == [1, 1, 0])
  }
}
