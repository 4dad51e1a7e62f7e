import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// The whole job on a toy: a small network learns bars with a backdoor, and the defenses change it.
  @Suite(.serialized)
  struct DefenseTests {
    private struct Victim {
      let training: LabeledImages, test: LabeledImages
      let attack: AttackFile, poison: PoisonedSet, weights: Weights, images: DeviceImages

      init(
        on backend: any Backend, _ architecture: Architecture = .mnistNet, width: Int = 8, size: Int = 12,
        images count: Int = 400, classes: Int = 4, seed: UInt64 = 7
      ) throws {
        training = try barImages(count, classes: classes, size: size, seed: 1)
        test = try barImages(120, classes: classes, size: size, seed: 2)
        attack = AttackFile(
          BadNet(pattern: [[1, 1], [1, 1]], row: 5, column: 5), target: 1, poisonRate: 0.2)
        poison = try PoisonedSet(training, attack)
        let trigger = try attack.attack.makeTrigger(image: Shape(1, 1, size, size), seed: 0, on: backend)
        images = try DeviceImages(
          training, on: backend, labels: poison.labels, roles: poison.roles, trigger: trigger)
        weights = try Weights(
          NetworkSpecification(
            architecture, width: width, classes: classes, channels: 1, height: size, imageWidth: size
          )
          .graph(),
          on: backend)
        try weights.initialise(seed: seed)
      }

      @discardableResult
      func train(epochs: Int, on images: DeviceImages? = nil) throws -> [Trainer.Epoch] {
        var settings = TrainingSettings()
        settings.batch = 64
        let trainer = try Trainer(weights, data: images ?? self.images, settings: settings)
        return try (0..<epochs).map { _ in
          try trainer.epoch(
            on: Array(0..<training.count), learningRate: { _, _ in 0.05 })
        }
      }

      func metrics() throws -> Metrics { try Evaluator(weights, test: test, attack: attack).evaluate() }
    }

    @Test(arguments: TestDevices.usable.indices)
    func infects(_ device: Int) throws {
      let victim = try Victim(on: TestDevices.usable[device])
      let epochs = try victim.train(epochs: 6)
      #expect(epochs[5].loss < 0.5 * epochs[0].loss)
      #expect(epochs[0].images == 400)
      let metrics = try victim.metrics()
      #expect(metrics.acc > 0.9)
      #expect((metrics.asr ?? 0) > 0.9)
      #expect(try #require(metrics.asr) + (try #require(metrics.ra)) <= 1.0000001)
    }

    private func erase(
      on backend: any Backend, adversarialBatches: Int = 1
    ) throws -> (outcome: PurificationOutcome, weights: [Float], victim: Victim, agreements: [[Float]]) {
      let victim = try Victim(on: backend)
      try victim.train(epochs: 4)
      var pbe = ProgressiveErasing()
      pbe.tuning.batch = 32
      pbe.tuning.learning_rate = 0.02
      pbe.tuning.attack = PGD(epsilon: 0.1, steps: 3)
      pbe.epochs_per_step = 2
      pbe.adversarial_batches = adversarialBatches
      pbe.initial_fraction = 0.1
      var finished: [Int] = []
      var shares: [Double] = []
      var observer = DefenseObserver()
      var lines: [String] = []
      var agreements: [[Float]] = []
      let infected = try Scorer(victim.weights, data: victim.images)
      try infected.run()
      observer.finished = { step in
        finished.append(step)
        let purified = try Scorer(victim.weights, data: victim.images)
        try purified.run()
        agreements.append(try AgreementPlan(infected.logits, purified.logits, on: backend).run())
        return try victim.metrics()
      }
      observer.progress = { _, share in shares.append(share) }
      observer.log = { lines.append($0) }
      let outcome = try pbe.run(
        DefenseSession(victim.weights, observer: observer), training: victim.images,
        labels: victim.poison.labels, truth: victim.poison.roles)
      #expect(finished == [0, 1, 2, 3])
      #expect(shares == shares.sorted() && (shares.last ?? 0) <= 1.000001)
      // Both epochs of the first step, and the first batch of each later one.
      let throughout = adversarialBatches < 3 ? 2 : 3
      #expect(lines.count { $0.contains(", adversarial:") } == throughout)
      #expect(lines.count { $0.contains(", partly adversarial:") } == 5 - throughout)
      return (outcome, try backend.read(victim.weights.trained), victim, agreements)
    }

    /// The structure of algorithm 1: sizes of the extra sets, each from the agreement after the step before, and the
    /// same numbers on each run.
    @Test(arguments: TestDevices.usable.indices)
    func progressiveErasing(_ device: Int) throws {
      let (outcome, weights, victim, agreements) = try erase(on: TestDevices.usable[device])
      #expect(outcome.steps.map(\.extra_set_size) == [40, 80, 200, 280])
      // Of the later steps no epoch is adversarial throughout.
      #expect(outcome.steps.map(\.adversarial_epochs) == [2, 0, 0, 0])
      #expect(outcome.agreement.count == 400)
      #expect(outcome.agreement.allSatisfy { (0...1.00001).contains($0) })
      for step in 0..<4 {
        #expect(outcome.kept.count { $0.contains(step) } == outcome.steps[step].extra_set_size)
        let kept = zip(outcome.kept, victim.poison.roles.isPoisoned).filter { $0.0.contains(step) }
        let share = Double(kept.count { $0.1 }) / Double(kept.count)
        #expect(abs(try #require(outcome.steps[step].extra_set_poisoned) - share) < 1e-12)
        #expect(outcome.steps[step].metrics != nil)
      }
      #expect(outcome.agreement == agreements[3])
      for step in 1..<4 {
        // Nobody who is left out agrees more than anybody who is kept.
        let (kept, left) = (0..<400).reduce(into: ([Float](), [Float]())) { groups, image in
          let agreement = agreements[step - 1][image]
          if outcome.kept[image].contains(step) {
            groups.0.append(agreement)
          } else {
            groups.1.append(agreement)
          }
        }
        #expect(try #require(kept.min()) >= (try #require(left.max())))
        let auroc = areaUnderROC(
          scores: agreements[step].map { -$0 }, isPositive: victim.poison.roles.isPoisoned)
        #expect(outcome.steps[step].agreement_auroc == auroc)
      }
      let again = try erase(on: TestDevices.usable[device])
      #expect(again.weights == weights)
      #expect(again.outcome.agreement == outcome.agreement)
    }

    /// An epoch that is over before its adversarial batches are is adversarial throughout: of 80 images there are three.
    @Test func shortEpochs() throws {
      let outcome = try erase(on: TestDevices.cpu, adversarialBatches: 3).outcome
      #expect(outcome.steps.map(\.adversarial_epochs) == [2, 1, 0, 0])
    }

    /// README's table of defaults, and the numbers of the paper's code.
    @Test func defaults() {
      let paper = ProgressiveErasing()
      #expect(paper.epochs_per_step == 10 && paper.adversarial_batches == 31)
      #expect(paper.initial_fraction == 0.05 && paper.keep_rates == [0.2, 0.5, 0.7])
      let aft = CleanFineTuning.aft
      #expect(aft.epochs == 20 && aft.adversarial_epochs == 3)
      for tuning in [paper.tuning, aft.tuning] {
        #expect(tuning.batch == 128 && tuning.learning_rate == 0.001 && tuning.schedule == .constant)
        #expect(tuning.attack.epsilon == 6.0 / 255 && tuning.attack.steps == 7 && !tuning.nesterov)
      }
      for baseline in [CleanFineTuning.fineTuning, .finePruning, .ftSAM] {
        #expect(baseline.epochs == 100 && baseline.adversarial_epochs == 0)
        #expect(baseline.tuning.batch == 256 && baseline.tuning.learning_rate == 0.01)
        #expect(baseline.tuning.schedule == .cosine && !baseline.tuning.nesterov)
      }
      #expect(
        CleanFineTuning.ftSAM.tuning.sam_radius == 2 && CleanFineTuning.fineTuning.tuning.sam_radius == 0)
      let automatic = AutomaticErasing()
      #expect(automatic.epochs == [4, 3, 2, 3] && automatic.learning_rates == [0.05, 0.05, 0.05, 0.03])
      #expect(
        automatic.tuning.batch == 128 && automatic.tuning.nesterov && automatic.tuning.gradient_length == 20)
      let fromClean = AutomaticFineTuning()
      #expect(fromClean.epochs == [100, 60, 20] && fromClean.learning_rates == [0.0025, 0.05, 0.005])
      #expect(fromClean.tuning.nesterov && fromClean.tuning.batch == 64)
      for tuning in [paper.tuning, aft.tuning, automatic.tuning, fromClean.tuning] {
        #expect(tuning.momentum == 0.9 && tuning.weight_decay == 5e-4)
      }
    }

    @Test func mostAgreeingBreaksTiesByPosition() {
      #expect(ProgressiveErasing.mostAgreeing([0.5, 0.9, 0.9, 0.1, 0.5], count: 3) == [1, 2, 0])
    }

    @Test func adversarialFineTuning() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 4)
      let before = try victim.metrics()
      var aft = CleanFineTuning.aft
      aft.tuning.batch = 32
      aft.tuning.learning_rate = 0.02
      aft.tuning.attack = PGD(epsilon: 0.2, steps: 5)
      aft.epochs = 8
      let clean = try barImages(80, seed: 3)
      let steps = try aft.run(
        DefenseSession(victim.weights, observer: DefenseObserver()),
        clean: DeviceImages(clean, on: TestDevices.cpu), labels: clean.labels)
      #expect(steps.count == 1 && steps[0].losses.count == 8 && steps[0].adversarial_epochs == 3)
      let after = try victim.metrics()
      #expect(after.acc > 0.85)
      #expect(try #require(after.asr) < (try #require(before.asr)))
    }

    /// Clean-data baselines run, and each does what its name says.
    @Test func baselines() throws {
      let clean = try barImages(80, seed: 3)
      let images = try DeviceImages(clean, on: TestDevices.cpu)
      for (defaults, prunes) in [
        (CleanFineTuning.fineTuning, false), (.finePruning, true), (.ftSAM, false),
      ] {
        let victim = try Victim(on: TestDevices.cpu)
        try victim.train(epochs: 4)
        var defense = defaults
        defense.tuning.batch = 32
        defense.epochs = 3
        var lines: [String] = []
        var observer = DefenseObserver()
        observer.log = { lines.append($0) }
        let steps = try defense.run(
          DefenseSession(victim.weights, observer: observer), clean: images, labels: clean.labels)
        #expect(steps.count == 1 && steps[0].losses.count == 3 && steps[0].adversarial_epochs == 0)
        #expect(lines.contains { $0.hasPrefix("pruned") } == prunes)
        #expect(try victim.metrics().acc > 0.8)
        guard let layer = victim.weights.graph.nodes.last else { continue }
        let matrix: [Float] = try TestDevices.cpu.read(victim.weights.tensor("\(layer.name).weight"))
        #expect(matrix.contains(0) == prunes, "what is pruned stays zero")
      }
    }

    /// A few poisoned images bring a forgotten backdoor back.
    @Test func relapse() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 6)
      // Forgotten: with their trigger the images have their own labels.
      let trigger = try victim.attack.makeTrigger(for: victim.training, on: TestDevices.cpu)
      try victim.train(
        epochs: 6,
        on: DeviceImages(
          victim.training, on: TestDevices.cpu, labels: victim.training.labels, roles: victim.poison.roles,
          trigger: trigger))
      let before = try #require(try victim.metrics().asr)
      #expect(before < 0.5)
      var relapse = Relapse()
      relapse.learning_rate = 0.05
      try relapse.run(victim.weights, training: victim.images, poison: victim.poison)
      #expect(try #require(try victim.metrics().asr) > before + 0.2)
      relapse.images = 400
      #expect(victim.poison.count < 400)
      #expect {
        try relapse.run(victim.weights, training: victim.images, poison: victim.poison)
      } throws: { ($0 as? PBEError)?.kind == .badData }
    }

    /// Many images are several batches, so that they fit into memory, and a signal is heeded after each.
    @Test func relapseOnManyImages() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let poison = PoisonedSet(
        roles: Array(repeating: .poisoned, count: victim.images.count), labels: victim.poison.labels)
      var relapse = Relapse()
      (relapse.images, relapse.epochs) = (300, 2)
      var steps = 0
      struct Stop: Error {}
      try relapse.run(victim.weights, training: victim.images, poison: poison) { steps += 1 }
      #expect(steps == 6)
      #expect(throws: Stop.self) {
        try relapse.run(victim.weights, training: victim.images, poison: poison) {
          steps += 1
          if steps == 8 { throw Stop() }
        }
      }
      #expect(steps == 8)
    }

    /// The recipe `auto` for so few images, and for a network with little batch norm.
    private var automatic: AutomaticErasing {
      var pbe = AutomaticErasing()
      pbe.tuning.batch = 16
      pbe.fewest_batches = [0, 0, 0, 0]
      pbe.learning_rates = [0.02, 0.02, 0.02, 0.01]
      return pbe
    }

    /// Where no image is answered as it is labelled there is nothing to begin with: an error, not a loss that is no number.
    @Test func nothingToFineTuneOn() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let logits = try Scorer(victim.weights, data: victim.images)
      try logits.run()
      let wrong = try logits.answers().map { ($0 + 1) % 4 }
      #expect {
        try automatic.run(
          DefenseSession(victim.weights, observer: DefenseObserver()), training: victim.images, labels: wrong,
          truth: nil)
      } throws: { ($0 as? PBEError)?.kind == .badData }
    }

    /// A witness that has learned next to nothing ends the erasing, and few images take more epochs.
    @Test func tooFewImagesForAWitness() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 6)
      func run(_ pbe: AutomaticErasing) throws -> [StepReport] {
        let weights = try Weights(victim.weights.graph, on: TestDevices.cpu)
        try weights.copy(from: victim.weights)
        return try pbe.run(
          DefenseSession(weights, observer: DefenseObserver()), training: victim.images,
          labels: victim.poison.labels, truth: nil
        ).steps
      }
      var pbe = automatic
      pbe.learning_rates = [1e-6, 1e-6, 0.02, 0.01]
      #expect {
        try run(pbe)
      } throws: { ($0 as? PBEError)?.kind == .badData && ($0 as? PBEError)?.place == "step 2/4" }
      pbe = automatic
      pbe.fewest_batches = [100, 0, 0, 0]
      let steps = try run(pbe)
      let batches = (steps[0].extra_set_size + 15) / 16
      #expect(steps[0].losses.count == (100 + batches - 1) / batches)
      #expect(steps.dropFirst().map(\.losses.count) == Array(pbe.epochs.dropFirst()))
    }

    /// The steps of the recipe `auto`: what each fine-tunes on, and that it erases; the same numbers on each run.
    @Test(arguments: TestDevices.usable.indices)
    func automaticErasing(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      func run() throws -> (PurificationOutcome, [Float], Metrics, Metrics) {
        let victim = try Victim(on: backend)
        try victim.train(epochs: 6)
        let before = try victim.metrics()
        var observer = DefenseObserver()
        var lines: [String] = []
        observer.log = { lines.append($0) }
        let outcome = try automatic.run(
          DefenseSession(victim.weights, observer: observer), training: victim.images,
          labels: victim.poison.labels, truth: victim.poison.roles)
        #expect(lines.first?.contains("images, one and a half for each of the network's features") == true)
        return (outcome, try backend.read(victim.weights.trained), before, try victim.metrics())
      }
      let (outcome, weights, before, after) = try run()
      #expect(outcome.steps.map(\.losses.count) == automatic.epochs)
      #expect(outcome.steps[0].extra_set_size < 200 && outcome.steps[1].extra_set_size < 400)
      #expect(outcome.steps.map { $0.relabelled == nil } == [true, true, false, false])
      for (step, earlier) in zip(outcome.steps.dropFirst(2), outcome.steps.dropFirst()) {
        let (relabelled, found) = (step.relabelled ?? 0, earlier.identification?.suggested ?? 0)
        // Of the others a few are left out that are disputed and don't look clean.
        let others = step.extra_set_size - relabelled
        #expect(relabelled > 40 && others <= 400 - found && others > 380 - found)
      }
      #expect(before.asr ?? 0 > 0.9 && after.asr ?? 1 < 0.2 && after.acc > before.acc - 0.05)
      let found = try #require(outcome.identification).report(nil)
      #expect(found.suggested > 40 && found.suggested < 160)
      let again = try run()
      #expect(again.1 == weights && again.0.agreement == outcome.agreement)
    }

    /// The witness begins without the label whose images fall apart, and goes on with some of them; also where its first images
    /// are chosen at random.
    @Test func holdout() throws {
      let victim = try Victim(on: TestDevices.cpu, .preactresnet18, width: 2, size: 28)
      try victim.train(epochs: 8)
      func kept(_ without: [AutomaticErasing.Part]) throws -> (first: Int, second: Int) {
        let weights = try Weights(victim.weights.graph, on: TestDevices.cpu)
        try weights.copy(from: victim.weights)
        var pbe = automatic
        pbe.without = without
        var observer = DefenseObserver()
        observer.log = { #expect(!$0.hasPrefix("no label has")) }
        let outcome = try pbe.run(
          DefenseSession(weights, observer: observer), training: victim.images,
          labels: victim.poison.labels, truth: victim.poison.roles)
        let targets = victim.poison.labels.indices.filter { victim.poison.labels[$0] == 1 }.map {
          outcome.kept[$0]
        }
        return (targets.count { $0.contains(0) }, targets.count { $0.contains(1) })
      }
      for part in [[], [AutomaticErasing.Part.band]] {
        let (first, second) = try kept(part)
        #expect(first == 0 && second > 0)
        #expect(try kept(part + [.holdout]).first > 0)
      }
    }

    /// Neither the first witness nor its teacher ever gives a label that is held out; the second witness may.
    @Test func heldOutLabelsAreNotAnswered() throws {
      let victim = try Victim(on: TestDevices.cpu, .preactresnet18, width: 2, size: 28)
      try victim.train(epochs: 8)
      let weights = try Weights(victim.weights.graph, on: TestDevices.cpu)
      try weights.copy(from: victim.weights)
      func answers(_ weights: Weights) throws -> [Int32] {
        let scorer = try Scorer(weights, data: victim.images)
        try scorer.run()
        return try scorer.answers()
      }
      let before = try (answers(weights), weights.values())
      let teacher = try #require(try automatic.teacher(weights, without: [1])).weights
      let taught = try answers(teacher)
      #expect(before.0.contains(1) && !taught.contains(1))
      #expect(zip(before.0, taught).allSatisfy { $0 == $1 || $0 == 1 })
      #expect(try weights.values() == before.1)
      #expect(try #require(try automatic.teacher(weights, without: [])).weights === weights)

      var given: [Set<Int32>] = []
      var observer = DefenseObserver()
      observer.finished = { _ in
        given.append(Set(try answers(weights)))
        return nil
      }
      _ = try automatic.run(
        DefenseSession(weights, observer: observer), training: victim.images, labels: victim.poison.labels,
        truth: nil)
      #expect(given.map { $0.contains(1) } == [false, true, true, true])
    }

    /// An erasing that holds a label out goes on as if it had never been stopped, wherever that was.
    @Test func resumedHoldout() throws {
      let victim = try Victim(on: TestDevices.cpu, .preactresnet18, width: 2, size: 28)
      try victim.train(epochs: 8)
      let directory = try ScratchFolder()
      let identity = try RunIdentity(automatic)
      func run(to share: Double) throws -> (weights: [Float], outcome: PurificationOutcome) {
        let weights = try Weights(victim.weights.graph, on: TestDevices.cpu)
        try weights.copy(from: victim.weights)
        var observer = DefenseObserver()
        observer.progress = { _, done in
          if done > share { throw PBEError(.interrupted, "stop") }
        }
        let session = DefenseSession(
          weights, observer: observer, checkpoint: share > 1 ? nil : directory.path + "/checkpoint",
          identity: identity)
        _ = try session.resume()
        let outcome = try automatic.run(
          session, training: victim.images, labels: victim.poison.labels, truth: nil)
        try session.settle()
        return (try weights.values(), outcome)
      }
      let whole = try run(to: 2)
      #expect(
        !victim.poison.labels.indices.contains {
          victim.poison.labels[$0] == 1 && whole.outcome.kept[$0].contains(0)
        })
      for share in stride(from: 0.05, to: 0.9, by: 0.05) {
        #expect { try run(to: share) } throws: { ($0 as? PBEError)?.kind == .interrupted }
      }
      let resumed = try run(to: 1)
      #expect(resumed.weights == whole.weights && resumed.outcome.agreement == whole.outcome.agreement)
      #expect(resumed.outcome.kept == whole.outcome.kept)
    }

    /// A checkpoint whose checksum is right may still have been written by anyone.
    @Test func impossiblePositions() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let directory = try ScratchFolder()
      let clean = try barImages(100, seed: 9)
      var defense = CleanFineTuning.fineTuning
      (defense.epochs, defense.tuning.batch) = (1, 50)
      let identity = try RunIdentity(defense)
      let path = directory.path + "/checkpoint"
      func session(_ observer: DefenseObserver = DefenseObserver()) -> DefenseSession {
        DefenseSession(victim.weights, observer: observer, checkpoint: path, identity: identity)
      }
      var observer = DefenseObserver()
      observer.progress = { _, _ in throw PBEError(.interrupted, "stop") }
      #expect(throws: PBEError.self) {
        try defense.run(
          session(observer), clean: DeviceImages(clean, on: TestDevices.cpu), labels: clean.labels)
      }
      _ = try session().resume()
      struct Progress: Codable {
        var entries: [Int]
        var position: Trainer.Position
        var trainers: Int
        var seconds: Double
      }
      let saved = try #require(try RunCheckpoint.read(path, identity: identity))
      let progress = try saved.progress(as: Progress.self)
      #expect(progress.position.stepsOfEpoch == 1)
      let changes: [(inout Trainer.Position) -> Void] = [
        { $0.stepsOfEpoch = -1 }, { $0.stepsOfEpoch = 3 }, { $0.stepsOfEpoch = .max }, { $0.epochs = 1 },
        { $0.epochs = .max }, { $0.steps = .max },
      ]
      for (index, change) in changes.enumerated() {
        var (checkpoint, changed) = (saved, progress)
        change(&changed.position)
        try checkpoint.setProgress(changed)
        try checkpoint.write(to: path)
        #expect("change \(index)") {
          let session = session()
          _ = try session.resume()
          _ = try defense.run(
            session, clean: DeviceImages(clean, on: TestDevices.cpu), labels: clean.labels)
        } throws: { ($0 as? PBEError)?.kind == .badData && "\($0)".contains("position") }
      }
    }

    /// The time of an epoch that was interrupted is of all its parts.
    @Test func resumedSeconds() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let directory = try ScratchFolder()
      let clean = try barImages(200, seed: 9)
      var defense = CleanFineTuning.fineTuning
      (defense.epochs, defense.tuning.batch) = (1, 50)
      func run(stopping: Bool) throws -> [StepReport] {
        var observer = DefenseObserver()
        observer.progress = { _, done in
          guard stopping, done > 0.4 else { return }
          Thread.sleep(forTimeInterval: 0.3)
          throw PBEError(.interrupted, "stop")
        }
        let session = try DefenseSession(
          victim.weights, observer: observer, checkpoint: directory.path + "/checkpoint",
          identity: RunIdentity(defense))
        _ = try session.resume()
        return try defense.run(
          session, clean: DeviceImages(clean, on: TestDevices.cpu), labels: clean.labels)
      }
      #expect { try run(stopping: true) } throws: { ($0 as? PBEError)?.kind == .interrupted }
      #expect { try run(stopping: true) } throws: { ($0 as? PBEError)?.kind == .interrupted }
      let report = try #require(try run(stopping: false).first)
      #expect(report.losses.count == 1 && report.training_seconds > 0.6)
    }

    /// A trainer clips its gradients to the length that its settings give.
    @Test func clippedTraining() throws {
      func distance(_ length: Float?) throws -> Double {
        let victim = try Victim(on: TestDevices.cpu)
        func trained() throws -> [Float] { try TestDevices.cpu.read(victim.weights.trained) }
        let start = try trained()
        var settings = TrainingSettings()
        (settings.batch, settings.momentum, settings.weight_decay) = (400, 0, 0)
        settings.gradient_length = length
        let trainer = try Trainer(victim.weights, data: victim.images, settings: settings)
        _ = try trainer.epoch(on: Array(0..<400), learningRate: { _, _ in 0.1 })
        return try zip(trained(), start).reduce(0) {
          $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
        }.squareRoot()
      }
      let free = try distance(nil)
      #expect(free > 0.01)
      #expect(try abs(distance(Float(free)) - 0.1 * free) < 1e-4 * free)
    }

    /// Agreement without some classes is that of the others alone.
    @Test(arguments: TestDevices.usable.indices)
    func agreementWithoutClasses(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let tables: [[Float]] = [[3, -1, 2, 0, 0, 5, 1, 1, -4], [1, -100, 2, 0, -100, 0, -1, -100, 4]]
      func table(_ values: [Float]) throws -> Tensor {
        try backend.makeTensor(values, shape: Shape(3, values.count / 3))
      }
      func close(_ a: [Float], _ b: [Float]) -> Bool { zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 } }
      let whole = try AgreementPlan(table(tables[0]), table(tables[1]), on: backend).run()
      let some = tables.map { table in table.indices.filter { $0 % 3 != 1 }.map { table[$0] } }
      let others = try AgreementPlan(table(some[0]), table(some[1]), on: backend).run()
      func scores(_ without: Set<Int32>) throws -> [Float] {
        try AgreementPlan(tables[0], tables[1], classes: 3, without: without, on: backend).run()
      }
      #expect(try close(scores([]), whole) && close(scores([1]), others) && !close(whole, others))
    }

    /// A witness that has learned the trigger again, here by force, does no harm: what was found before is taught with the
    /// first witness's answers.
    @Test func witnessThatRelapses() throws {
      // Bars are so much alike that a label may fall apart by what its images show, and its groups get as few answers. That
      // depends on rounding: hence the choice of a victim of which the first step finds the poison.
      func isSplitByTrigger(_ victim: Victim) throws -> Bool {
        let poison = victim.poison
        let session = DefenseSession(victim.weights, observer: DefenseObserver())
        let infected = try TrainingSetAssessment(
          session, training: victim.images, labels: poison.labels, truth: nil
        ).infected
        let splits = LabelSplit.all(infected, poison.labels)
        guard splits.map(\.label) == [1] else { return false }
        let sides = zip(splits[0].images, splits[0].logOdds).map { poison.roles.isPoisoned[$0] == ($1 > 0) }
        return Set(sides).count == 1
      }
      func eraseWithRelapse(_ victim: Victim) throws -> [StepReport] {
        let infected = try Weights(victim.weights.graph, on: TestDevices.cpu)
        try infected.copy(from: victim.weights)
        var observer = DefenseObserver()
        observer.finished = { _ in try victim.metrics() }
        observer.progress = { what, _ in
          if what.hasPrefix("step 2/4") { try victim.weights.copy(from: infected) }
        }
        return try automatic.run(
          DefenseSession(victim.weights, observer: observer), training: victim.images,
          labels: victim.poison.labels, truth: victim.poison.roles
        ).steps
      }
      var chosen: [StepReport]?
      for seed: UInt64 in 7..<19 where chosen == nil {
        let victim = try Victim(
          on: TestDevices.cpu, .preactresnet18, width: 2, size: 28, images: 2000, classes: 10, seed: seed)
        try victim.train(epochs: 8)
        guard try isSplitByTrigger(victim) else { continue }
        let steps = try eraseWithRelapse(victim)
        if steps[0].identification?.suggested ?? 0 > 390 { chosen = steps }
      }
      let steps = try #require(chosen)
      let asr = steps.map { $0.metrics?.asr ?? -1 }
      let found = steps.map { $0.identification?.suggested ?? 0 }
      #expect(asr[0] < 0.1 && asr[1] > 0.9)
      #expect(found[1] == found[0])
      try #require(steps.count == 4)
      #expect(asr[2] < 0.1 && asr[3] < 0.1)
      #expect(steps[2].relabelled ?? 0 > 300)
    }

    /// Each part of the recipe can be left out, and changes what it is said to change.
    @Test func partsOfAutomaticErasing() throws {
      func steps(_ without: [AutomaticErasing.Part]) throws -> [StepReport] {
        let victim = try Victim(on: TestDevices.cpu)
        try victim.train(epochs: 6)
        var pbe = automatic
        pbe.without = without
        return try pbe.run(
          DefenseSession(victim.weights, observer: DefenseObserver()), training: victim.images,
          labels: victim.poison.labels, truth: victim.poison.roles
        ).steps
      }
      let whole = try steps([])
      #expect(try #require(whole[0].extra_set_poisoned) < 0.1)
      let random = try steps([.band])
      #expect(random[0].extra_set_size == whole[0].extra_set_size)
      #expect(try #require(random[0].extra_set_poisoned) > #require(whole[0].extra_set_poisoned))
      let warm = try steps([.shrinking])
      #expect(warm[0].losses[0] < 0.5 * whole[0].losses[0], "what is not shrunk has little to learn")
      let labelled = try steps([.distillation])
      #expect(labelled[0].losses != whole[0].losses && labelled[0].extra_set_size == whole[0].extra_set_size)
      let hasty = try steps([.progression])
      #expect(hasty.map(\.step) == [0, 2, 3] && hasty[0].losses == whole[0].losses)
      let dropped = try steps([.relabelling])
      let found = try #require(dropped[1].identification).suggested
      #expect(dropped[2].extra_set_size <= 400 - found && dropped[2].relabelled == 0 && found > 0)
      let once = try steps([.repetition])
      #expect(once[3].relabelled == once[2].relabelled && once[2].losses == whole[2].losses)
    }

    /// Of each label a share in order of a number, but of none more than there are of a label on average.
    @Test func imagesOfEachLabel() {
      let labels: [Int32] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
      let values: [Float] = [7, 6, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3]
      func select(_ low: Double, _ high: Double) -> [Int] {
        AutomaticErasing.ofEachLabel(Array(0..<12), labels, inOrderOf: values, from: low, to: high)
      }
      #expect(select(0, 0.5) == [5, 6, 7, 8, 9])
      #expect(select(0.25, 0.5) == [4, 5, 9])
      #expect(select(0, 1) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
      #expect(AutomaticErasing.ofEachLabel([], labels, inOrderOf: values, from: 0, to: 1).isEmpty)
      // Only of those that are asked for, as wrong answers are not.
      let margins: [Float] = [5, -1, 1, 2, 3, 4, 10, 20, 30, 40]
      let six: [Int32] = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
      func unfirm(_ low: Double, _ high: Double) -> [Int] {
        AutomaticErasing.ofEachLabel(
          six.indices.filter { margins[$0] > 0 }, six, inOrderOf: margins, from: low, to: high)
      }
      #expect(unfirm(0, 0.5) == [2, 3, 4, 6, 7])
      #expect(unfirm(0.25, 0.5) == [3, 4, 7])
      let few: [Int32] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
      #expect(
        AutomaticErasing.ofEachLabel(
          Array(0..<10), few, inOrderOf: (1...10).map { Float($0) }, from: 0, to: 1)
          == [0, 1, 2, 3, 4, 8, 9])
    }

    /// With some clean images the backdoor goes and the accuracy stays; the same numbers on each run.
    @Test(arguments: TestDevices.usable.indices)
    func automaticFineTuning(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let clean = try DeviceImages(barImages(80, seed: 3), on: backend)
      func run() throws -> ([StepReport], [Float], Metrics, Metrics) {
        let victim = try Victim(on: backend)
        try victim.train(epochs: 6)
        let before = try victim.metrics()
        var defense = AutomaticFineTuning()
        defense.tuning.batch = 16
        defense.learning_rates[1] = 0.02
        var shares: [Double] = []
        var observer = DefenseObserver()
        observer.progress = { _, share in shares.append(share) }
        let steps = try defense.run(
          DefenseSession(victim.weights, observer: observer), clean: clean)
        #expect(shares == shares.sorted() && abs((shares.last ?? 0) - 1) < 1e-6)
        return (steps, try backend.read(victim.weights.trained), before, try victim.metrics())
      }
      let (steps, weights, before, after) = try run()
      #expect(steps.map(\.losses.count) == [100, 60, 20] && steps.map(\.adversarial_epochs) == [0, 0, 20])
      #expect(before.asr ?? 0 > 0.9 && after.asr ?? 1 < 0.2 && after.acc > before.acc - 0.05)
      #expect(try run().1 == weights)
    }

    /// A search that has no image for some of its candidates is none.
    @Test func tooFewImagesForPerturbations() throws {
      let victim = try Victim(on: TestDevices.cpu)
      func run(_ count: Int, batch: Int) throws -> Int {
        var defense = AutomaticFineTuning()
        (defense.tuning.batch, defense.epochs, defense.perturbations.steps) = (batch, [1, 1, 1], [1, 1])
        return try defense.run(
          DefenseSession(victim.weights, observer: DefenseObserver()),
          clean: DeviceImages(barImages(count, seed: 3), on: TestDevices.cpu)
        ).count
      }
      #expect(try run(16, batch: 16) == 3)
      for (count, batch) in [(15, 64), (80, 15)] {
        #expect {
          try run(count, batch: batch)
        } throws: { ($0 as? PBEError)?.kind == .badData && "\($0)".contains("16 are needed") }
      }
    }

    /// The repair trains without dropout, by default and unlike what comes before it.
    @Test(arguments: TestDevices.usable.indices)
    func repairWithoutDropout(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let specification = NetworkSpecification(.smallVGG, width: 4, classes: 4, channels: 3)
      let clean = try DeviceImages(barImages(32, size: 32, seed: 3), on: backend)
      func losses(_ dropout: [Bool]? = nil) throws -> [[Double]] {
        let weights = try Weights(specification.graph(), on: backend)
        try weights.initialise(seed: 3)
        var defense = AutomaticFineTuning()
        (defense.tuning.batch, defense.epochs) = (16, [1, 1, 1])
        (defense.perturbations.candidates, defense.perturbations.steps) = (4, [1, 1])
        defense.dropout = dropout ?? defense.dropout
        return try defense.run(DefenseSession(weights, observer: DefenseObserver()), clean: clean).map(
          \.losses)
      }
      let (without, with) = (try losses(), try losses([true, true, true]))
      #expect(without[0...1] == with[0...1] && without[2] != with[2])
      #expect(try losses([true, true, false]) == without)
      #expect(try losses([false, true, false])[0] != without[0])
    }

    /// The tiles of an image whose sizes can't be divided cover each of its pixels once, each with a start of its own.
    @Test func tiles() {
      let image = Shape(1, 3, 10, 7)
      var stream = PhiloxStream(seed: 1, purpose: 0)
      let tiles = (0..<16).map {
        UniversalPerturbation(image: image, divisions: 4, tile: $0, length: 2, from: &stream)
      }
      for pixel in 0..<70 { #expect(tiles.reduce(0) { $0 + $1.mask[pixel] } == 1) }
      for tile in tiles {
        #expect(tile.values.indices.allSatisfy { (tile.values[$0] != 0) == (tile.mask[$0 % 70] == 1) })
        #expect(abs(tile.values.reduce(0) { $0 + $1 * $1 } - 4) < 1e-4)
      }
    }

    /// Two models trained alike, the second one without the poison.
    private func infectedAndClean(_ backend: any Backend) throws -> (infected: Victim, clean: Victim) {
      let (infected, clean) = (try Victim(on: backend), try Victim(on: backend))
      try infected.train(epochs: 6)
      try clean.train(epochs: 6, on: DeviceImages(clean.training, on: backend))
      return (infected, clean)
    }

    /// Of two models, one infected and one not, the perturbations change the infected one's answers far more, are within
    /// their ball, and say how far they came.
    @Test(arguments: TestDevices.usable.indices)
    func universalSearch(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let (infected, clean) = try infectedAndClean(backend)
      let images = try barImages(80, seed: 3)
      var tuning = TrainingSettings()
      tuning.batch = 16
      var settings = UniversalPerturbations()
      settings.count = 2
      let search = try UniversalSearch(
        infected.weights, witness: clean.weights, data: DeviceImages(images, on: backend), tuning: tuning,
        settings: settings)
      var done: [Int] = []
      let (found, answered) = try search.run { done.append($0) }
      #expect(done.last == search.imageCount && search.imageCount == (2 * 60 + 120) * 16)
      #expect(done == done.sorted())
      let size = found.count / 4
      let parts = (0..<4).map { Array(found[$0 * size..<($0 + 1) * size]) }
      for part in parts {
        let length = part.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(length > 1 && length < 3.0001)
      }
      #expect(parts[0] != parts[1], "each has a start of its own")
      let tile = images.width / 4
      for (number, part) in parts.enumerated() {
        let pixels = part.indices.filter { part[$0] != 0 }.map { $0 % (images.height * images.width) }
        let tiles = Set(pixels.map { $0 / images.width / tile * 4 + $0 % images.width / tile })
        #expect(tiles.count == (number < 2 ? 16 : 1), "first those of the whole image, then those of a tile")
      }
      #expect(try search.run().perturbations == found)
      #expect(answered < 0.5)
      let perturbed = try DeviceImages(images, on: backend).pixels().enumerated().map {
        $1 + found[$0 % size]
      }
      func accuracy(_ victim: Victim) throws -> Double {
        let answers = try NetworkProbe(victim.weights).answers(to: perturbed).labels
        return Double(zip(answers, images.labels).count { $0 == $1 }) / Double(images.count)
      }
      let (fooled, kept) = (try accuracy(infected), try accuracy(clean))
      #expect(fooled < 0.5 && kept > fooled + 0.4, "\(fooled) \(kept)")
    }

    /// Of all candidates those are kept that fool the model most and the witness least, the best first.
    @Test(arguments: TestDevices.usable.indices)
    func bestCandidates(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let (infected, clean) = try infectedAndClean(backend)
      let data = try DeviceImages(barImages(80, seed: 3), on: backend)
      var tuning = TrainingSettings()
      tuning.batch = 16
      func found(_ count: Int) throws -> [[Float]] {
        var settings = UniversalPerturbations()
        (settings.divisions, settings.candidates, settings.count, settings.steps) = ([1], 8, count, [20, 0])
        let numbers = try UniversalSearch(
          infected.weights, witness: clean.weights, data: data, tuning: tuning, settings: settings
        ).run().perturbations
        let size = numbers.count / count
        return (0..<count).map { Array(numbers[$0 * size..<($0 + 1) * size]) }
      }
      let contrast = try UniversalContrast(
        infected.weights, clean.weights, UniversalBatches(data, tuning))
      let all = try found(8)
      let scores = try all.map(contrast.measure)
      #expect(scores == scores.sorted(by: >) && scores[2] > scores[7])
      #expect(try found(3) == Array(all.prefix(3)))
    }

    /// Half of each batch carries the perturbations; the teacher answers all of it without them. So even the infected model
    /// can teach that its trigger means nothing.
    @Test(arguments: TestDevices.usable.indices)
    func universalExamples(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let victim = try Victim(on: backend)
      try victim.train(epochs: 6)
      let infected = try victim.weights.values()
      let images = try barImages(160, seed: 3)
      let shape = Shape(1, images.channels, images.height, images.width)
      func train(_ perturbation: [Float], epochs: Int) throws -> (first: Trainer.Epoch, metrics: Metrics) {
        try victim.weights.setValues(infected)
        let teacher = try Weights(victim.weights.graph, on: backend)
        try teacher.setValues(infected)
        var settings = TrainingSettings()
        settings.batch = 32
        let trainer = try Trainer(
          victim.weights, data: DeviceImages(images, on: backend), settings: settings,
          teacher: Teacher(teacher, labelShare: 0),
          perturbations: backend.makeTensor(perturbation, shape: shape, role: .image))
        let done = try (0..<epochs).map { _ in
          try trainer.epoch(
            on: Array(0..<160), isAdversarial: { _, _ in true }, learningRate: { _, _ in 0.002 })
        }
        return (done[0], try victim.metrics())
      }
      let none = [Float](repeating: 0, count: shape.count)
      var trigger = none
      for (row, column) in [(5, 5), (5, 6), (6, 5), (6, 6)] { trigger[row * images.width + column] = 1 }
      let (kept, erased) = (try train(none, epochs: 6), try train(trigger, epochs: 6))
      let (left, gone) = (try #require(kept.metrics.asr), try #require(erased.metrics.asr))
      #expect(left > gone + 0.4 && gone < 0.2, "\(kept) \(erased)")
      #expect(erased.metrics.acc > 0.9 && kept.first.accuracy > 0.9)
      // A quarter of the images is the target's anyway.
      let white = try train([Float](repeating: 1, count: shape.count), epochs: 1).first.accuracy
      #expect(white > 0.5 && white < 0.8, "half of the images are white")
    }

    /// The last batch of a data set is rarely full.
    @Test func scorerHandlesAnyBatch() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 4)
      let data = try DeviceImages(victim.test, on: TestDevices.cpu)
      let answers = try [120, 50, 7, 1000].map { batch in
        let scorer = try Scorer(victim.weights, data: data, batch: batch)
        try scorer.run()
        return try scorer.answers()
      }
      #expect(answers.allSatisfy { $0 == answers[0] })
      #expect(Set(answers[0]).count > 1)
    }

    @Test func interruptionStopsAtOnce() throws {
      struct Stop: Error {}
      let victim = try Victim(on: TestDevices.cpu)
      let trainer = try Trainer(victim.weights, data: victim.images, settings: TrainingSettings())
      var calls = 0
      #expect(throws: Stop.self) {
        try trainer.epoch(
          on: Array(0..<400), learningRate: { _, _ in 0.01 },
          progress: { _ in
            calls += 1
            if calls == 2 { throw Stop() }
          })
      }
      #expect(calls == 2)
    }

    /// Cross accuracy is measured where the attack has cross images, and those are not triggered ones.
    @Test func crossAccuracy() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 6)
      #expect(try victim.metrics().cross == nil)
      let still = AttackFile(WaNet(s: 0), target: 1)
      let evaluator = try Evaluator(victim.weights, test: victim.test, attack: still)
      #expect(evaluator.imageCount == 360)
      var done: [Int] = []
      let metrics = try evaluator.evaluate { done.append($0) }
      #expect(done == done.sorted() && done.last == 360)
      // Bars survive noise of half a pixel; without a warp nothing is triggered.
      #expect(try #require(metrics.cross) > 0.85)
      #expect(try #require(metrics.ra) > 0.85)
      let strong = AttackFile(WaNet(s: 40), target: 1)
      let warped = try Evaluator(victim.weights, test: victim.test, attack: strong).evaluate()
      #expect(try #require(warped.cross) < (try #require(metrics.cross)))
    }

    /// A trigger after which no pixel is a number: the first class, which is what NaNs give, is no success.
    @Test func answersToTriggersHaveToBeFinite() throws {
      struct Blinding: Attack, Trigger {
        static let name = "blinding"
        static let keys: Set<String> = []
        func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger { self }
        func apply(to batch: TriggerBatch, in program: inout Program) throws -> Value {
          let output = program.temporary(program[batch.images].shape)
          program.append(.fill(Fill(output: output, value: .nan)))
          return output
        }
      }
      let victim = try Victim(on: TestDevices.cpu)
      let evaluator = try Evaluator(
        victim.weights, test: victim.test, attack: AttackFile(Blinding(), target: 0))
      #expect {
        _ = try evaluator.evaluate()
      } throws: {
        ($0 as? PBEError)?.kind == .badData && ($0 as? PBEError)?.what.contains("triggered") == true
      }
    }

    /// There is no rate of what no image can be scored by.
    @Test func testSetOfTheTargetAlone() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let rows = victim.test.labels.indices.filter { victim.test.labels[$0] == 1 }
      let size = victim.test.imageSize
      let alone = try LabeledImages(
        name: "one class", channels: 1, height: 12, width: 12, classes: 4,
        pixels: rows.flatMap { victim.test.pixels[$0 * size..<($0 + 1) * size] }, labels: rows.map { _ in 1 })
      let metrics = try Evaluator(victim.weights, test: alone, attack: victim.attack).evaluate()
      #expect(metrics.asr == nil && metrics.ra == nil && metrics.asr_without_trigger == nil)
      #expect(metrics.asr_all_images != nil)
    }

    /// Every wrong answer to a clean image is an attacker's success without a trigger, of one target.
    @Test func successWithoutTrigger() throws {
      let victim = try Victim(on: TestDevices.cpu)
      try victim.train(epochs: 1)
      let test = victim.test
      // Counted by hand.
      let scorer = try Scorer(victim.weights, data: DeviceImages(test, on: TestDevices.cpu))
      try scorer.run()
      let answers = try scorer.answers()
      var (wrong, successes) = (0.0, 0.0)
      for target in 0..<test.classes {
        let metrics = try Evaluator(
          victim.weights, test: test, attack: AttackFile(WaNet(s: 0), target: target)
        ).evaluate()
        wrong = (1 - metrics.acc) * Double(test.count)
        let others = test.labels.count { $0 != target }
        successes += try #require(metrics.asr_without_trigger) * Double(others)
        #expect(metrics.asr_without_trigger == metrics.asr, "this trigger changes nothing")
        let answered = zip(answers, test.labels).filter { $0.0 == target }
        #expect(metrics.asr_all_images == Double(answered.count) / Double(test.count))
        #expect(metrics.asr == Double(answered.count { $0.1 != target }) / Double(others))
      }
      #expect(wrong > 5)
      #expect(abs(successes - wrong) < 1e-6)
      try victim.train(epochs: 2)
      let triggered = try victim.metrics()
      #expect(try #require(triggered.asr_without_trigger) < (try #require(triggered.asr)))
    }

    @Test func divergenceIsAnError() throws {
      let victim = try Victim(on: TestDevices.cpu)
      let trainer = try Trainer(victim.weights, data: victim.images, settings: TrainingSettings())
      #expect {
        for _ in 0..<5 {
          try trainer.epoch(on: Array(0..<400), learningRate: { _, _ in 1e20 })
        }
      } throws: { ($0 as? PBEError)?.kind == .badData }
    }
  }
}
