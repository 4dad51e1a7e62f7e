import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  @Suite(.serialized)
  struct AttackTests {
    private func triggered(_ attack: any Attack, _ pixels: [Float], _ shape: Shape, on backend: any Backend)
      throws -> [Float]
    {
      try TriggerBench(shape, pixels, on: backend).apply(attack)
    }

    /// The grid of the paper's code, in the lower right corner, and nothing else changes.
    @Test(arguments: TestDevices.usable.indices)
    func gridTrigger(_ device: Int) throws {
      let shape = Shape(2, 3, 6, 5)
      let pixels = (0..<shape.count).map { Float($0 % 7) / 10 + 0.1 }
      let result = try triggered(BadNet(), pixels, shape, on: TestDevices.usable[device])
      let grid: [[Float]] = [[0, 0, 1], [0, 1, 0], [1, 0, 1]]
      for n in 0..<2 {
        for c in 0..<3 {
          for i in 0..<6 {
            for j in 0..<5 {
              let at = ((n * 3 + c) * 6 + i) * 5 + j
              let wanted = i >= 3 && j >= 2 ? grid[i - 3][j - 2] : pixels[at]
              #expect(result[at] == wanted)
            }
          }
        }
      }
    }

    @Test func patchOutsideTheImage() {
      #expect {
        try BadNet(row: 30, column: 30).makeTrigger(
          image: Shape(1, 3, 32, 32), seed: 0, on: TestDevices.cpu)
      } throws: { ($0 as? PBEError)?.kind == .badData }
      #expect {
        try BadNet(row: .min, column: 0).makeTrigger(
          image: Shape(1, 3, 32, 32), seed: 0, on: TestDevices.cpu)
      } throws: { ($0 as? PBEError)?.kind == .badData }
    }

    @Test func addedImageIsClipped() throws {
      let folder = try ScratchFolder()
      let picture = try Picture(width: 2, height: 2, channels: 3, pixels: Array(repeating: 255, count: 12))
      try Data(picture.png()).write(to: URL(fileURLWithPath: "\(folder.path)/white.png"))
      let attack = ImageTrigger(image: "\(folder.path)/white.png", alpha: 0.5, combination: .add)
      let pixels: [Float] = (0..<12).map { Float($0) / 12 }
      let result = try triggered(attack, pixels, Shape(1, 3, 2, 2), on: TestDevices.cpu)
      for (value, pixel) in zip(result, pixels) { #expect(abs(value - min(1, pixel + 0.5)) < 1e-6) }
      let blend = ImageTrigger(image: "\(folder.path)/white.png", alpha: 0.25)
      let blended = try triggered(blend, pixels, Shape(1, 3, 2, 2), on: TestDevices.cpu)
      for (value, pixel) in zip(blended, pixels) { #expect(abs(value - (0.75 * pixel + 0.25)) < 1e-6) }
      // Black in the mask is nothing of the picture, white all.
      let halves: [UInt8] = [0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255]
      let mask = try folder.write("mask.png", Picture(width: 2, height: 2, channels: 3, pixels: halves).png())
      let masked = try triggered(
        ImageTrigger(image: "\(folder.path)/white.png", alpha: 0.5, mask: mask), pixels, Shape(1, 3, 2, 2),
        on: TestDevices.cpu)
      for (index, (value, pixel)) in zip(masked, pixels).enumerated() {
        #expect(abs(value - (index % 2 == 0 ? pixel : 0.5 * pixel + 0.5)) < 1e-6)
      }
      // On grey images a colour picture is the mean of its channels.
      let red = try folder.write(
        "red.png", Picture(width: 1, height: 1, channels: 3, pixels: [255, 0, 0]).png())
      let grey = try triggered(ImageTrigger(image: red), [0.5], Shape(1, 1, 1, 1), on: TestDevices.cpu)
      #expect(abs(grey[0] - 1.0 / 3) < 1e-6)
    }

    @Test func poisonIsFixedByItsSeed() throws {
      let images = try barImages(200, seed: 1)
      let file = AttackFile(BadNet(), target: 2, poisonRate: 0.1, poisonSeed: 5)
      let set = try PoisonedSet(images, file)
      #expect(set.count == 20)
      #expect(try set == PoisonedSet(images, file))
      #expect(
        set.roles.indices.filter { set.roles[$0] == .poisoned } == [
          27, 32, 34, 35, 44, 46, 47, 54, 66, 83, 85, 90, 112, 133, 141, 162, 182, 183, 185, 197,
        ], "old attack files would mean other images")
      var other = file
      other.poisonSeed = 6
      #expect(try set.roles.isPoisoned != PoisonedSet(images, other).roles.isPoisoned)
      for (index, poisoned) in set.roles.isPoisoned.enumerated() {
        #expect(set.labels[index] == (poisoned ? 2 : images.labels[index]))
      }
      // Drawn from all classes, the target's too.
      let classes = Set(zip(images.labels, set.roles.isPoisoned).filter(\.1).map(\.0))
      #expect(classes.count == 4)
    }

    @Test func allToAllShiftsLabels() throws {
      let images = try barImages(40, seed: 1)
      let set = try PoisonedSet(images, AttackFile(BadNet(), mode: .allToAll, target: 0, poisonRate: 1))
      #expect(set.count == 40)
      for (label, clean) in zip(set.labels, images.labels) { #expect(label == (clean + 1) % 4) }
      // Its file has no target, which would be refused.
      let folder = try ScratchFolder()
      let file = AttackFile(BadNet(), mode: .allToAll, target: 0, poisonRate: 0.25, poisonSeed: 7)
      let read = try AttackFile.load(folder.write("attack.json", Array(file.encoded().utf8)))
      #expect(read.mode == .allToAll && read.poisonRate == 0.25 && read.poisonSeed == 7)
    }

    @Test func crossImagesAreASetOfTheirOwn() throws {
      let images = try barImages(200, seed: 1)
      var file = AttackFile(WaNet(), target: 2, poisonRate: 0.1, poisonSeed: 5)
      let set = try PoisonedSet(images, file)
      #expect(set.count == 20 && set.crossCount == 40)
      #expect(set.roles.isPoisoned.count { $0 } == 20)
      for (index, role) in set.roles.enumerated() {
        #expect(set.labels[index] == (role == .poisoned ? 2 : images.labels[index]))
      }
      // The same images are poisoned, whatever the attack.
      #expect(
        try PoisonedSet(images, AttackFile(BadNet(), target: 2, poisonSeed: 5)).roles.isPoisoned
          == set.roles.isPoisoned)
      file.poisonRate = 0.34
      #expect { try PoisonedSet(images, file) } throws: { ($0 as? PBEError)?.kind == .badData }
      file.attack = WaNet(crossRatio: .infinity)
      #expect { try PoisonedSet(images, file) } throws: { ($0 as? PBEError)?.kind == .badData }
      file.poisonRate = 0
      file.attack = WaNet()
      #expect(try PoisonedSet(images, file).roles.allSatisfy { $0 == .clean })
    }

    /// Clean-label: images of the target class only, as many as the rate says of all, labels as they were.
    @Test func cleanLabel() throws {
      let images = try barImages(200, seed: 1)
      var file = AttackFile(SIG(label: .clean), target: 3, poisonRate: 0.2, poisonSeed: 5)
      let set = try PoisonedSet(images, file)
      #expect(set.count == 40 && set.labels == images.labels)
      #expect(zip(set.roles, images.labels).allSatisfy { $0 != .poisoned || $1 == 3 })
      file.poisonRate = 0.25
      #expect(try PoisonedSet(images, file).count == 50)
      file.poisonRate = 0.26
      #expect {
        try PoisonedSet(images, file)
      } throws: {
        ($0 as? PBEError)?.kind == .badData && "\($0)".contains("52") && "\($0)".contains("50")
      }
      file.poisonRate = 0.1
      file.mode = .allToAll
      #expect { try PoisonedSet(images, file) } throws: { ($0 as? PBEError)?.kind == .badData }
    }

    @Test func parametersOnTheCommandLine() throws {
      let folder = try ScratchFolder()
      let path = "\(folder.path)/attack.json"
      let text = #"{"attack": "blend", "target": 4, "alpha": 0.5, "pattern": "a.png", "poison_seed": 3}"#
      try AtomicFile.write(text, to: path)
      let file = try AttackFile.load(path, parameters: ["alpha": "0.25"])
      let blend = try #require(file.attack as? Blend)
      #expect(file.target == 4 && file.poisonSeed == 3 && blend.alpha == 0.25)
      #expect(blend.pattern.hasPrefix("/") && blend.pattern.hasSuffix("/a.png"))
      let sig = try AttackFile.named("sig", parameters: ["label": "clean", "delta": "40"], seed: 8)
      #expect(sig.poisonSeed == 8 && sig.attack.isCleanLabel && (sig.attack as? SIG)?.delta == 40)
      for name in ["badnet", "blend", "sig", "wanet"] {
        #expect(type(of: try AttackFile.named(name).attack).name == name)
      }
      for (parameters, kind) in [
        (["alpha": "x"], PBEError.Kind.badData), (["alpha": "[1]"], .badData), (["beta": "1"], .usage),
        (["target": "1"], .usage),
      ] {
        #expect { try AttackFile.named("blend", parameters: parameters) } throws: {
          ($0 as? PBEError)?.kind == kind
        }
      }
      #expect { try AttackFile.named("image") } throws: { "\($0)".contains("image") }
    }

    /// What is wrong with the data set alone is found late, and still said of the file.
    @Test func errorsNameTheFile() throws {
      let folder = try ScratchFolder()
      let path = "\(folder.path)/a.json"
      func place(_ json: String, _ body: (AttackFile) throws -> Void) throws -> String? {
        try AtomicFile.write(json, to: path)
        let file = try AttackFile.load(path)
        let error = #expect(throws: PBEError.self) { try body(file) }
        #expect(error?.kind == .badData)
        return error?.place
      }
      let images = try barImages(50, classes: 5, seed: 1)
      let cpu = TestDevices.cpu
      #expect(
        try place(#"{"attack": "badnet", "target": 7}"#) { try $0.check(classes: 5) }
          == "\(path): attack, target")
      #expect(
        try place(#"{"attack": "badnet", "target": 1, "row": 90}"#) {
          _ = try $0.makeTrigger(for: images, on: cpu)
        }
          == "\(path): attack badnet")
      #expect(
        try place(#"{"attack": "wanet", "target": 1, "cross_ratio": -1}"#) { _ = try PoisonedSet(images, $0) }
          == "\(path): attack, cross_ratio")
      // Not of the attack.
      #expect(
        try place(#"{"attack": "sig", "target": 1, "label": "clean", "poison_rate": 1}"#) {
          _ = try PoisonedSet(images, $0)
        } == images.name)
      let named = try AttackFile.named("badnet", parameters: ["row": "90"])
      let error = #expect(throws: PBEError.self) { try named.makeTrigger(for: images, on: cpu) }
      #expect(error?.place == "attack badnet")
    }

    /// What is written describes the same trigger.
    @Test func everyAttackSurvivesItsFile() throws {
      let folder = try ScratchFolder()
      for (index, attack) in TriggerTests.attacks.enumerated() {
        let path = "\(folder.path)/\(index).json"
        try AtomicFile.write(AttackFile(attack, target: 1, poisonSeed: 6).encoded(), to: path)
        let read = try AttackFile.load(path)
        #expect(
          read.attack.crossRatio == attack.crossRatio && read.attack.isCleanLabel == attack.isCleanLabel)
        let bench = TriggerBench(Shape(2, 3, 9, 9), on: TestDevices.cpu)
        #expect(try bench.apply(read.attack, seed: read.poisonSeed) == bench.apply(attack, seed: 6))
      }
    }

    @Test func fileRoundTrip() throws {
      let folder = try ScratchFolder()
      let path = "\(folder.path)/attack.json"
      let file = AttackFile(
        BadNet(pattern: [[1, 0]], row: 3, column: -2), mode: .allToOne, target: 7, poisonRate: 0.05,
        poisonSeed: 11)
      try AtomicFile.write(file.encoded(), to: path)
      let read = try AttackFile.load(path)
      #expect(read.target == 7 && read.poisonRate == 0.05 && read.poisonSeed == 11 && read.mode == .allToOne)
      let attack = try #require(read.attack as? BadNet)
      #expect(attack.pattern == [[1, 0]] && attack.row == 3 && attack.column == -2)
    }

    @Test(arguments: [
      "", "[]", "{}", #"{"attack": "unknown", "target": 1}"#, #"{"attack": "badnet"}"#,
      #"{"attack": "badnet", "target": -1}"#, #"{"attack": "badnet", "target": "x"}"#,
      #"{"attack": "badnet", "target": 1, "poison_rate": 2}"#, #"{"attack": "image", "target": 1}"#,
      #"{"attack": "badnet", "target": 1, "mode": "some-to-some"}"#,
      #"{"attack": "badnet", "target": 99999999999999999999}"#,
    ])
    func wrongFiles(_ text: String) throws {
      let folder = try ScratchFolder()
      let path = "\(folder.path)/attack.json"
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      #expect { try AttackFile.load(path) } throws: { ($0 as? PBEError)?.kind == .badData }
    }

    /// The keys that have numbers are named, since the decoder doesn't tell which it is; and nobody is told to download it anew.
    @Test func wrongNumbers() throws {
      let folder = try ScratchFolder()
      let path = "\(folder.path)/attack.json"
      for (text, names) in [
        (#""row": 0.5"#, ["whole: of \"row\""]), (#""poison_seed": -1"#, ["\"poison_seed\""]),
        (#""pattern": [[1e308]]"#, ["\"pattern\""]), (#""column": 1,"#, ["byte", "docs/attacks.md"]),
      ] {
        try Data("{\"attack\": \"badnet\", \"target\": 1, \(text)}".utf8).write(
          to: URL(fileURLWithPath: path))
        let error = #expect(throws: PBEError.self) { try AttackFile.load(path) }
        let words = error.map { "\($0)" } ?? ""
        for name in names { #expect(words.contains(name), "\(words)") }
        #expect(error?.kind == .badData && error?.remedy?.contains("download") == false)
      }
    }

    /// Of parameters on the command line only what they are of is named.
    @Test func wrongNumberOnTheCommandLine() {
      #expect { try AttackFile.named("badnet", parameters: ["row": "0.5"]) } throws: {
        "\($0)".contains("whole: of \"row\";")
      }
    }

    /// To the system a path ends at its first NUL: another file than the one that is named.
    @Test func noPathsWithNUL() throws {
      let folder = try ScratchFolder()
      try FileManager.default.createDirectory(atPath: "\(folder.path)/a", withIntermediateDirectories: true)
      try folder.write("a/b.png", Picture(width: 1, height: 1, channels: 3, pixels: [1, 2, 3]).png())
      let path = try folder.write(
        "attack.json", #"{"attack": "blend", "target": 0, "pattern": "a\u0000x/b.png"}"#)
      let images = try barImages(4, seed: 1)
      #expect {
        try AttackFile.load(path).makeTrigger(for: images, on: TestDevices.cpu)
      } throws: { "\($0)".contains("no file can have this name") }
    }

    @Test func targetOutOfRange() {
      #expect { try AttackFile(BadNet(), target: 10).check(classes: 10) } throws: {
        ($0 as? PBEError)?.kind == .badData
      }
    }
  }
}
