import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  /// The input-aware attack from its training to its trigger, on small generators.
  @Suite(.serialized)
  struct DynamicTests {
    private struct Victim {
      let images: LabeledImages
      let generators: Generators
      let weights: Weights
      let trainer: DynamicTrainer
      let poison: PoisonedSet

      init(on backend: any Backend, maskEpochs: Int = 2, augments: Bool = true, rate: Float = 0.01)
        throws
      {
        images = try barImages(96, seed: 4)
        let attack = Dynamic(width: 4)
        poison = try PoisonedSet(images, AttackFile(attack, target: 1, poisonRate: 0.25))
        let image = Shape(1, images.channels, images.height, images.width)
        generators = try attack.makeGenerators(for: image, on: backend)
        try generators.initialise(seed: 1)
        weights = try Weights(
          NetworkSpecification(
            .smallVGG, width: 4, classes: images.classes, channels: images.channels, height: images.height,
            imageWidth: images.width
          ).graph(), on: backend)
        try weights.initialise(seed: 2)
        var settings = TrainingSettings()
        settings.batch = 32
        settings.augmentation = augments ? Augmentation(flips: true) : nil
        trainer = try DynamicTrainer(
          weights, generators: generators, training: images, poison: poison, settings: settings,
          maskEpochs: maskEpochs, generatorRate: rate)
      }

      func prepare(stoppingAt limit: Int = .max) throws {
        var steps = 0
        try trainer.prepare(
          progress: { _, _ in
            steps += 1
            if steps == limit { throw Stop() }
          }, reached: { _ in })
      }

      func epoch(stoppingAt limit: Int = .max) throws -> Trainer.Epoch {
        var steps = 0
        return try trainer.epoch(
          count: images.count, share: 0, learningRate: { _, _ in 0.02 },
          progress: { _ in
            steps += 1
            if steps == limit { throw Stop() }
          })
      }

      /// Everything that training changes.
      func state() throws -> [[Float]] {
        try [weights, generators.pattern, generators.mask].flatMap { network in
          try network.graph.parameters.map { try network.backend.read(network.tensor($0.name)) }
        }
      }
    }

    private struct Stop: Error {}

    /// The generators' learning rate falls to a tenth after a third, a half, two thirds and five sixths of the run. Adam's
    /// first step is as long as its rate.
    @Test(arguments: [(0, 0), (0.33, 0), (0.34, 1), (0.5, 2), (0.67, 3), (0.84, 4), (1, 4)])
    func generatorRateFalls(share: Double, falls: Int) throws {
      let victim = try Victim(on: TestDevices.cpu, maskEpochs: 0, rate: 0.5)
      let parameters = victim.generators.pattern.trained
      let before = try TestDevices.cpu.read(parameters)
      #expect(throws: Stop.self) {
        try victim.trainer.epoch(
          count: victim.images.count, share: share, learningRate: { _, _ in 0.02 },
          progress: { _ in throw Stop() })
      }
      let longest = zip(before, try TestDevices.cpu.read(parameters)).map { abs($0 - $1) }.max() ?? 0
      #expect(abs(Double(longest) / (0.5 * pow(0.1, Double(falls))) - 1) < 0.01)
    }

    @Test(arguments: TestDevices.usable.indices)
    func lossesFall(_ device: Int) throws {
      let victim = try Victim(on: TestDevices.usable[device], maskEpochs: 6, augments: false)
      let masks = try (0..<6).map { _ in try victim.trainer.maskEpoch() }
      func loss(_ epoch: DynamicTrainer.MaskEpoch) -> Double { epoch.diversity + 100 * epoch.density }
      #expect(loss(masks[5]) < 0.7 * loss(masks[0]))
      let epochs = try (0..<12).map { _ in try victim.epoch() }
      #expect(epochs[11].loss < 0.8 * epochs[0].loss)
      #expect(epochs[11].images == 96)
    }

    /// The first stage leaves the victim alone, the second one the mask generator.
    @Test func whatEachStageTrains() throws {
      let victim = try Victim(on: TestDevices.cpu, maskEpochs: 1)
      let backend = TestDevices.cpu
      func trained() throws -> [[Float]] {
        try [victim.weights, victim.generators.pattern, victim.generators.mask].map {
          try backend.read($0.trained)
        }
      }
      let start = try trained()
      try victim.prepare()
      let middle = try trained()
      #expect(middle[0] == start[0] && middle[1] == start[1] && middle[2] != start[2])
      _ = try victim.epoch()
      let end = try trained()
      #expect(end[0] != middle[0] && end[1] != middle[1] && end[2] == middle[2])
    }

    /// The first update of Adam is as long as the learning rate, whatever the gradient.
    @Test(arguments: [Float(0.01), 0.001])
    func generatorRateIsTheFirstUpdate(_ rate: Float) throws {
      let victim = try Victim(on: TestDevices.cpu, maskEpochs: 1, rate: rate)
      let backend = TestDevices.cpu
      func longestUpdate(of network: Weights, by step: () throws -> Void) throws -> Float {
        let before: [Float] = try backend.read(network.trained)
        #expect(throws: Stop.self) { try step() }
        return zip(before, try backend.read(network.trained) as [Float]).map { abs($0 - $1) }.max() ?? 0
      }
      let mask = try longestUpdate(of: victim.generators.mask) { try victim.prepare(stoppingAt: 1) }
      try victim.prepare()
      let pattern = try longestUpdate(of: victim.generators.pattern) { _ = try victim.epoch(stoppingAt: 1) }
      #expect(abs(mask / rate - 1) < 1e-3 && abs(pattern / rate - 1) < 1e-3, "\(mask), \(pattern)")
    }

    /// Stopped in the middle of an epoch of either stage and resumed, the result has the same bits.
    @Test(arguments: TestDevices.usable.indices)
    func resumedEqualsUninterrupted(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let whole = try Victim(on: backend)
      try whole.prepare()
      for _ in 0..<2 { _ = try whole.epoch() }

      let folder = try ScratchFolder()
      let path = "\(folder.path)/checkpoint.safetensors"
      let identity = try RunIdentity(["what": "test"])
      func moved(_ victim: Victim) throws -> Victim {
        var checkpoint = RunCheckpoint(identity, device: "test")
        try victim.trainer.save(to: &checkpoint, as: "model")
        try checkpoint.write(to: path)
        let next = try Victim(on: backend)
        let read = try #require(try RunCheckpoint.read(path, identity: identity))
        try next.trainer.restore(from: read, as: "model", at: victim.trainer.position)
        return next
      }
      var part = try Victim(on: backend)
      // Of three steps per epoch the second of the second.
      #expect(throws: Stop.self) { try part.prepare(stoppingAt: 5) }
      part = try moved(part)
      try part.prepare()
      #expect(throws: Stop.self) { try part.epoch(stoppingAt: 2) }
      part = try moved(part)
      for _ in 0..<2 { _ = try part.epoch() }
      #expect(part.trainer.position == whole.trainer.position)
      #expect(try part.state() == whole.state())
    }

    /// The images of a data set as its loader gives them.
    private func loaded(_ data: DeviceImages, _ count: Int) throws -> [Float] {
      let backend = data.backend
      let rows = try backend.makeTensor((0..<count).map { Int32($0) }, shape: Shape(count, 1))
      var program = Program()
      let batch = try data.load(count, rows: rows, in: &program)
      let output = try backend.makeTensor(program[batch.images].shape, role: .image)
      program.append(.copy(Copy(input: batch.images, output: program.bind(output))))
      try backend.compile([program])[0].run(RunParameters())
      return try backend.read(output)
    }

    private func differences(_ a: [Float], _ b: [Float]) -> Float {
      zip(a, b).map { abs($0 - $1) }.max() ?? .infinity
    }

    /// The saved trigger is the trained one, on every device; roles are kept apart.
    @Test(arguments: TestDevices.usable.indices)
    func savedTriggerIsTheTrainedOne(_ device: Int) throws {
      let trainedOn = TestDevices.cpu
      let victim = try Victim(on: trainedOn, maskEpochs: 1)
      try victim.prepare()
      _ = try victim.epoch()
      let folder = try ScratchFolder()
      let path = "\(folder.path)/generators.safetensors"
      try victim.generators.save(to: path)
      var live = Dynamic(width: 4)
      live.live = victim.generators
      let attack = AttackFile(Dynamic(generators: path, width: 4), target: 1, poisonRate: 0.25)
      try AtomicFile.write(attack.encoded(in: folder.path), to: "\(folder.path)/attack.json")
      let text = try String(contentsOfFile: "\(folder.path)/attack.json", encoding: .utf8)
      #expect(text.contains("\"generators.safetensors\""), "relative, so that the folder may be moved")
      let read = try AttackFile.load("\(folder.path)/attack.json")

      func images(_ file: AttackFile, _ backend: any Backend, roles: [ImageRole]?) throws -> [Float] {
        try loaded(
          DeviceImages(
            victim.images, on: backend, roles: roles,
            trigger: file.makeTrigger(for: victim.images, on: backend)),
          victim.images.count)
      }
      let (count, size) = (victim.images.count, victim.images.height * victim.images.width)
      let clean = victim.images.pixels.map { Float($0) / 255 }
      let roles = victim.poison.roles
      let liveFile = AttackFile(live, target: 1)
      let backend = TestDevices.usable[device]
      for roles in [nil, roles] {
        let trained = try images(liveFile, trainedOn, roles: roles)
        let saved = try images(read, backend, roles: roles)
        if backend === trainedOn { #expect(saved == trained) }
        #expect(differences(saved, trained) < 1e-5)
        #expect(differences(saved, clean) > 0.01, "the trigger changes nothing")
      }
      // A flagged batch gives each image what a batch of its role alone does, and leaves clean ones alone.
      let mixed = try images(read, backend, roles: roles)
      let poisoned = try images(read, backend, roles: nil)
      let cross = try images(read, backend, roles: Array(repeating: .cross, count: count))
      #expect(poisoned != cross)
      for index in 0..<count {
        let range = index * size..<(index + 1) * size
        let wanted =
          switch roles[index] {
          case .clean: clean
          case .poisoned: poisoned
          case .cross: cross
          }
        #expect(
          differences(Array(mixed[range]), Array(wanted[range])) < (roles[index] == .clean ? 1e-7 : 1e-5))
      }
    }

    @Test func wrongGenerators() throws {
      let backend = TestDevices.cpu
      let image = Shape(1, 1, 12, 12)
      func expectBadData(_ attack: Dynamic) {
        #expect { try attack.makeTrigger(image: image, seed: 0, on: backend) } throws: {
          ($0 as? PBEError)?.kind == .badData
        }
      }
      expectBadData(Dynamic(width: 4))
      let folder = try ScratchFolder()
      let path = "\(folder.path)/generators.safetensors"
      let generators = try Dynamic(width: 4).makeGenerators(for: image, on: backend)
      try generators.initialise(seed: 1)
      try generators.save(to: path)
      _ = try Dynamic(generators: path, width: 4).makeTrigger(image: image, seed: 0, on: backend)
      expectBadData(Dynamic(generators: path, width: 5))
      expectBadData(Dynamic(generators: path, width: 4, levels: 1))
      expectBadData(Dynamic(generators: path, width: 4, cross: -1))
      expectBadData(Dynamic(generators: path, width: 4, diversity: .nan))
      for rate: Float in [0, 2, .nan] { expectBadData(Dynamic(generators: path, width: 4, rate: rate)) }
      let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      for damaged in [Data(), bytes.prefix(100), bytes.dropLast(4)] {
        try damaged.write(to: URL(fileURLWithPath: path))
        expectBadData(Dynamic(generators: path, width: 4))
      }
      try Safetensors.write(StateDictionary(), to: path)
      expectBadData(Dynamic(generators: path, width: 4))
      #expect {
        try Dynamic(generators: "\(folder.path)/none", width: 4).makeTrigger(
          image: image, seed: 0, on: backend)
      } throws: { ($0 as? PBEError)?.kind == .missingInput }
    }

    @Test func batchesOfRoles() throws {
      let roles = (0..<100).map { $0 % 10 == 0 ? ImageRole.poisoned : $0 % 10 == 1 ? .cross : .clean }
      let batches = try RoleBatches(roles, batch: 20, seed: 3)
      #expect(batches.poisoned == 2 && batches.cross == 2 && batches.clean == 16 && batches.count == 5)
      #expect(batches.flags == [1, 1, 0, 0, 3, 3] + Array(repeating: 0, count: 14))
      let order = batches.order(epoch: 0)
      #expect(Set(order).count == 100, "every image once where the shares are whole")
      for start in stride(from: 0, to: 100, by: 20) {
        let found = order[start..<start + 20].map { roles[Int($0)] }
        #expect(found[..<2].allSatisfy { $0 == .poisoned } && found[4..<6].allSatisfy { $0 == .cross })
        #expect((Array(found[2..<4]) + found[6...]).allSatisfy { $0 == .clean })
      }
      #expect(batches.order(epoch: 1) != order)
      // Of 24 images 1.2 should be poisoned, of 15 0.75: one is a quarter less, and a third more.
      let rare = roles.enumerated().map { $0.offset % 20 == 0 ? ImageRole.poisoned : .clean }
      #expect(try RoleBatches(rare, batch: 24, seed: 0).poisoned == 1)
      let error = #expect(throws: PBEError.self) { try RoleBatches(rare, batch: 15, seed: 0) }
      #expect(error?.kind == .badData && error?.remedy?.contains("--batch of 40 or more") == true)
      #expect(try RoleBatches(rare, batch: 40, seed: 0).poisoned == 2)
      for wrong in [[ImageRole.clean, .clean], [.poisoned, .poisoned], [.poisoned, .cross]] {
        #expect { try RoleBatches(wrong, batch: 2, seed: 0) } throws: { ($0 as? PBEError)?.kind == .badData }
      }
    }
  }
}
