import Foundation
import Kernels
import Parity
import Testing

@testable import PBE

/// Puts triggers on images, by roles.
struct TriggerBench {
  let backend: any Backend
  let shape: Shape
  let pixels: [Float]

  /// Random images.
  init(_ shape: Shape, on backend: any Backend, seed: UInt64 = 3) {
    var stream = PhiloxStream(seed: seed, purpose: 0x5445_5354)
    self.init(shape, (0..<shape.count).map { _ in stream.nextUniform() }, on: backend)
  }

  init(_ shape: Shape, _ pixels: [Float], on backend: any Backend) {
    (self.backend, self.shape, self.pixels) = (backend, shape, pixels)
  }

  /// The images after the trigger; `roles` per sample, or one for all.
  func apply(
    _ trigger: any Trigger, roles: [ImageRole]? = nil, all role: ImageRole = .poisoned,
    samples: [Int32]? = nil,
    epoch: UInt32 = 0
  ) throws -> [Float] {
    let output = try backend.makeTensor(shape, role: .image)
    var program = Program()
    func integers(_ values: [Int32]) throws -> Value {
      program.bind(try backend.makeTensor(values, shape: Shape(shape.n, 1)))
    }
    let images = program.bind(try backend.makeTensor(pixels, shape: shape, role: .image))
    let keys = try integers(samples ?? (0..<shape.n).map { Int32($0) })
    let kinds: TriggerBatch.Roles =
      if let roles { .each(try integers(roles.map(\.rawValue)), try RoleTables(on: backend)) } else {
        .all(role)
      }
    let result = try trigger.apply(
      to: TriggerBatch(images: images, samples: keys, roles: kinds), in: &program)
    program.append(.copy(Copy(input: result, output: program.bind(output))))
    try backend.compile([program])[0].run(RunParameters(epoch: epoch))
    return try backend.read(output)
  }

  func apply(_ attack: any Attack, seed: UInt64 = 0) throws -> [Float] {
    try apply(attack.makeTrigger(image: Shape(1, shape.c, shape.h, shape.w), seed: seed, on: backend))
  }

  /// One sample's pixels.
  func sample(_ index: Int, of pixels: [Float]) -> ArraySlice<Float> {
    let size = shape.c * shape.h * shape.w
    return pixels[index * size..<(index + 1) * size]
  }
}

private func largestDifference(_ a: some Sequence<Float>, _ b: some Sequence<Float>) -> Float {
  zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

extension DeviceTests {
  /// Every attack against an independent computation, and every device against the CPU.
  @Suite(.serialized)
  struct TriggerTests {
    @Test(arguments: TestDevices.usable.indices)
    func blend(_ device: Int) throws {
      let bench = TriggerBench(Shape(2, 3, 8, 6), on: TestDevices.usable[device])
      var stream = PhiloxStream(seed: 9, purpose: 6)
      let noise = (0..<3 * 8 * 6).map { _ in stream.nextUniform() }
      let wanted = bench.pixels.enumerated().map { at, x in
        Double(x) * 0.9 + 0.1 * Double(noise[at % noise.count])
      }
      #expect(largestDifference(try bench.apply(Blend(), seed: 9), wanted.map { Float($0) }) < 1e-6)
      #expect(try bench.apply(Blend(), seed: 9) != bench.apply(Blend(), seed: 10))
      #expect(try bench.apply(Blend(alpha: 0)) == bench.pixels)
    }

    @Test func blendOfPictures() throws {
      let bench = TriggerBench(Shape(1, 3, 2, 2), on: TestDevices.cpu)
      let folder = try ScratchFolder()
      let pixels: [UInt8] = (0..<12).map { $0 * 20 }
      try AtomicFile.write(
        Data(Picture(width: 2, height: 2, channels: 3, pixels: pixels).png()), to: "\(folder.path)/p.png")
      let result = try bench.apply(Blend(alpha: 0.3, pattern: "p.png").resolvingPaths(from: folder.path))
      for at in 0..<12 {
        let picture = Float(pixels[at % 4 * 3 + at / 4]) / 255
        #expect(abs(result[at] - (0.7 * bench.pixels[at] + 0.3 * picture)) < 1e-6)
      }
      // The drawing has colours, and stays within its frame at any size.
      for (width, height) in [(1, 1), (32, 32), (28, 40)] {
        let drawing = try Drawing.picture(width: width, height: height)
        #expect(drawing.width == width && drawing.height == height)
        #expect(width == 1 || Set(drawing.pixels).count > 50)
      }
      let full = try bench.apply(Blend(alpha: 1, pattern: "picture"))
      let drawn = try Drawing.picture(width: 2, height: 2).planar.map { Float($0) / 255 }
      #expect(largestDifference(full, drawn) < 1e-6)
      #expect(throws: PBEError.self) { try bench.apply(Blend(alpha: 1.5)) }
      #expect(throws: PBEError.self) { try bench.apply(Blend(pattern: "/no/such.png")) }
    }

    @Test(arguments: TestDevices.usable.indices)
    func sig(_ device: Int) throws {
      let bench = TriggerBench(Shape(3, 3, 5, 32), on: TestDevices.usable[device])
      for (delta, frequency) in [(20.0, 6.0), (40, 3), (0, 1)] {
        let result = try bench.apply(SIG(delta: Float(delta), frequency: Float(frequency)))
        let wanted = bench.pixels.enumerated().map { at, x in
          let wave = delta * sin(2 * .pi * Double(at % 32) * frequency / 32)
          return Float(min(255, max(0, Double(x) * 255 + wave)) / 255)
        }
        #expect(largestDifference(result, wanted) < 1e-6)
      }
      #expect(throws: PBEError.self) { try bench.apply(SIG(delta: .nan)) }
      #expect(throws: PBEError.self) { try bench.apply(SIG(frequency: -1)) }
    }

    @Test(arguments: TestDevices.usable.indices)
    func patches(_ device: Int) throws {
      let bench = TriggerBench(Shape(2, 1, 9, 8), on: TestDevices.usable[device])
      func badnet(_ parameters: [String: String]) throws -> [Float] {
        try bench.apply(AttackFile.named("badnet", parameters: parameters).attack)
      }
      func check(_ result: [Float], rows: Range<Int>, columns: Range<Int>) {
        for (at, value) in result.enumerated() {
          let inside = rows.contains(at / 8 % 9) && columns.contains(at % 8)
          #expect(value == (inside ? 1 : bench.pixels[at]))
        }
      }
      check(try badnet(["pattern": "square"]), rows: 6..<9, columns: 5..<8)
      check(try badnet(["pattern": "large-square"]), rows: 4..<8, columns: 3..<7)
      check(try badnet(["pattern": "square", "row": "0", "column": "2"]), rows: 0..<3, columns: 2..<5)
      check(try badnet(["pattern": "[[1,1]]"]), rows: 8..<9, columns: 6..<8)
      #expect(throws: PBEError.self) { try badnet(["pattern": "circle"]) }
    }

    /// PyTorch's result for an image that is not square and a field that is cut at the edges.
    @Test(arguments: TestDevices.usable.indices)
    func warp(_ device: Int) throws {
      let file = try Checkpoint.load(TestFiles.fixtureURL("wanet.safetensors").path).state
      func values(_ name: String) throws -> [Float] { try #require(file[name]).floats() }
      let backend = TestDevices.usable[device]
      let bench = TriggerBench(Shape(2, 3, 12, 9), try values("x"), on: backend)
      let trigger = try Warp(
        control: values("control"), size: 4, strength: 3, image: Shape(1, 3, 12, 9), seed: 0, on: backend)
      let field = try values("field")
      #expect(field.contains(1) && field.contains(-1))
      #expect(largestDifference(try backend.read(trigger.field), field) < 1e-6)
      #expect(largestDifference(try bench.apply(trigger), try values("y")) < 1e-5)
    }

    @Test(.enabled(if: SharedGolden.directory != nil, "NOT RUN: the shared golden files"))
    func sharedGoldenWarp() throws {
      let golden = try GoldenSet(directory: #require(SharedGolden.directory), name: "layers").golden("wanet")
      func values(_ name: String) throws -> [Float] { try golden.tensor(name).values.map { Float($0) } }
      let field = try values("field")
      for backend in TestDevices.usable {
        let bench = TriggerBench(Shape(3, 3, 32, 32), try values("x"), on: backend)
        let trigger = try Warp(
          control: values("control"), size: 4, strength: 0.5, image: Shape(1, 3, 32, 32), seed: 0, on: backend
        )
        let own = try backend.read(trigger.field)
        #expect(largestDifference((0..<2048).map { own[$0 % 2 * 1024 + $0 / 2] }, field) < 1e-6)
        #expect(largestDifference(try bench.apply(trigger), try values("y")) < 1e-5)
      }
    }

    @Test func controlPoints() throws {
      let control = WaNet.control(4, seed: 5)
      #expect(
        control.count == 32 && control == WaNet.control(4, seed: 5) && control != WaNet.control(4, seed: 6))
      #expect(abs(control.reduce(0) { $0 + abs($1) } / 32 - 1) < 1e-5)
      #expect(control.contains { $0 < 0 } && control.contains { $0 > 0 })
      for attack in [WaNet(k: 1), WaNet(k: 65), WaNet(s: .nan), WaNet(crossRatio: -1)] {
        #expect(throws: PBEError.self) {
          try attack.makeTrigger(image: Shape(1, 3, 8, 8), seed: 0, on: TestDevices.cpu)
        }
      }
    }

    /// Noise mode against the formula: the field plus uniform noise of 1/h, drawn from sample and epoch, cut to [-1, 1].
    @Test(arguments: TestDevices.usable.indices)
    func noiseMode(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let shape = Shape(3, 3, 10, 8)
      let bench = TriggerBench(shape, on: backend)
      let trigger = try #require(
        try WaNet().makeTrigger(image: Shape(1, 3, 10, 8), seed: 11, on: backend) as? Warp)
      let field = try backend.read(trigger.field)
      let samples: [Int32] = [4, 0, 70_000]
      let result = try bench.apply(trigger, all: .cross, samples: samples, epoch: 7)
      for n in 0..<3 {
        func point(_ axis: Int, _ pixel: Int) -> Double {
          let element = UInt32(axis * 80 + pixel)
          let words = Philox.words(
            SIMD4(element / 4, UInt32(samples[n]), 7, RandomPurpose.triggerNoise), seed: 11)
          let noise = 2 * Double(Philox.uniform(words[Int(element % 4)])) - 1
          return min(1, max(-1, Double(field[Int(element)]) + noise / 10))
        }
        for c in 0..<3 {
          for pixel in 0..<80 {
            let (x, y) = ((point(0, pixel) + 1) / 2 * 7, (point(1, pixel) + 1) / 2 * 9)
            var sum = 0.0
            for row in 0..<10 {
              for column in 0..<8 {
                let weight = max(0, 1 - abs(x - Double(column))) * max(0, 1 - abs(y - Double(row)))
                sum += weight * Double(bench.pixels[((n * 3 + c) * 10 + row) * 8 + column])
              }
            }
            #expect(abs(Double(result[(n * 3 + c) * 80 + pixel]) - sum) < 1e-5)
          }
        }
      }
      #expect(try bench.apply(trigger, all: .cross, samples: samples, epoch: 8) != result)
      #expect(try bench.apply(trigger, all: .cross, samples: samples, epoch: 7) == result)
    }

    static let attacks: [any Attack] = [
      BadNet(), Blend(), Blend(alpha: 0.2, pattern: "picture"), SIG(), SIG(label: .clean), WaNet(),
      WaNet(k: 8, s: 2, crossRatio: 1),
    ]

    /// In a batch of all roles each sample is what it would be by itself, and clean ones keep every bit.
    @Test(arguments: TestDevices.usable.indices)
    func rolesInOneBatch(_ device: Int) throws {
      let backend = TestDevices.usable[device]
      let bench = TriggerBench(Shape(7, 3, 16, 16), on: backend)
      let roles: [ImageRole] = [.clean, .poisoned, .cross, .cross, .clean, .poisoned, .clean]
      for attack in Self.attacks {
        let trigger = try attack.makeTrigger(image: Shape(1, 3, 16, 16), seed: 2, on: backend)
        let mixed = try bench.apply(trigger, roles: roles, epoch: 3)
        let whole = try ImageRole.allCases.map { try bench.apply(trigger, all: $0, epoch: 3) }
        for (index, role) in roles.enumerated() {
          #expect(bench.sample(index, of: mixed) == bench.sample(index, of: whole[Int(role.rawValue)]))
        }
        #expect(whole[0] == bench.pixels)
        #expect(whole[1] != bench.pixels)
        #expect((whole[2] != bench.pixels) == (attack.crossRatio > 0))
      }
    }

    /// All devices make the same images.
    @Test func devicesAgree() throws {
      for attack in Self.attacks {
        for role in [ImageRole.poisoned, .cross] {
          for shape in [Shape(5, 3, 32, 32), Shape(2, 1, 28, 28)] {
            let results = try TestDevices.usable.map { backend in
              let trigger = try attack.makeTrigger(
                image: Shape(1, shape.c, shape.h, shape.w), seed: 4, on: backend)
              return try TriggerBench(shape, on: backend).apply(trigger, all: role, epoch: 2)
            }
            for result in results.dropFirst() { #expect(largestDifference(result, results[0]) < 1e-5) }
          }
        }
      }
    }

    /// A data set's partners: everyone has one, it is someone else, and it comes without a trigger.
    @Test(arguments: TestDevices.usable.indices)
    func partners(_ device: Int) throws {
      struct Swap: Trigger {
        func apply(to batch: TriggerBatch, in program: inout Program) throws -> Value {
          try batch.partners(in: &program)
        }
      }
      let backend = TestDevices.usable[device]
      let count = 9
      let images = try LabeledImages(
        name: "nine", channels: 1, height: 1, width: 1, classes: 1, pixels: (0..<UInt8(count)).map { $0 },
        labels: Array(repeating: 0, count: count))
      let data = try DeviceImages(
        images, on: backend, roles: Array(repeating: .poisoned, count: count), trigger: Swap())
      let rows = try backend.makeTensor((0..<count).map { Int32($0) }, shape: Shape(count, 1))
      let output = try backend.makeTensor(Shape(count, 1, 1, 1), role: .image)
      var program = Program()
      let loaded = try data.load(count, rows: rows, in: &program)
      program.append(.copy(Copy(input: loaded.images, output: program.bind(output))))
      try backend.compile([program])[0].run(RunParameters())
      let partners = try backend.read(output).map { Int(($0 * 255).rounded()) }
      #expect(partners.sorted() == Array(0..<count))
      #expect(partners.enumerated().allSatisfy { $0.offset != $0.element })
    }

    /// An attack whose trigger computes what is no image.
    private struct Divergent: Attack, Trigger {
      static let name = "divergent"
      static let keys: Set<String> = []

      func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) -> any Trigger { self }

      func apply(to batch: TriggerBatch, in program: inout Program) -> Value {
        let output = program.temporary(program[batch.images].shape)
        program.append(.fill(Fill(output: output, value: .nan)))
        return output
      }
    }

    @Test func contactSheet() throws {
      let images = try barImages(3, seed: 1)
      let sheet = try ContactSheet(images, AttackFile(WaNet(), target: 0), on: TestDevices.cpu)
      #expect(sheet.names.count == 5 && sheet.names.contains("cross"))
      let picture = try sheet.picture(scale: 2)
      #expect(picture.width == 4 + 3 * 28 && picture.height == 4 + 5 * 28)
      // The first image's first pixel, in the first cell; the margin is white.
      #expect(picture.pixels[0] == 255)
      #expect(picture.pixels[(4 * picture.width + 4) * 3] == images.pixels[0])
      #expect {
        try ContactSheet(images, AttackFile(Divergent(), target: 0), on: TestDevices.cpu)
      } throws: { ($0 as? PBEError)?.kind == .badData && "\($0)".contains("not finite") }
      let still = try ContactSheet(images, AttackFile(SIG(delta: 0), target: 0), on: TestDevices.cpu)
      #expect(still.names.count == 3)
      #expect(still.rows[0].pixels == still.rows[1].pixels && still.rows[2].pixels.allSatisfy { $0 == 0.5 })
    }
  }
}
