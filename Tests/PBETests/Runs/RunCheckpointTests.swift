import Foundation
import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  @Suite(.serialized) struct RunCheckpointTests {
    private struct Settings: Encodable { var epochs = 3, name = "a" }

    private func weights(seed: UInt64) throws -> Weights {
      let specification = NetworkSpecification(
        .mnistNet, width: 2, classes: 4, channels: 1, height: 12, imageWidth: 12)
      let weights = try Weights(specification.graph(), on: TestDevices.cpu)
      try weights.initialise(seed: seed)
      return weights
    }

    /// Two networks and an optimizer's state, as the training of generators needs.
    @Test func holdsSeveralNetworks() throws {
      try TestFiles.withDirectory { directory in
        let path = directory.path + "/checkpoint"
        let identity = try RunIdentity(Settings())
        #expect(try RunCheckpoint.read(path, identity: identity) == nil)
        let (one, two) = (try weights(seed: 1), try weights(seed: 2))
        let moments = try one.likeTrained().tensors
        for tensor in moments.values {
          try one.backend.write((0..<tensor.shape.count).map { Float($0) - 0.5 }, to: tensor)
        }
        var checkpoint = RunCheckpoint(identity, device: "cpu")
        try checkpoint.save(one, as: "one")
        try checkpoint.save(two, as: "two")
        try checkpoint.save(moments, as: "adam/first", on: one.backend)
        try checkpoint.setProgress(["epochs": 7])
        try checkpoint.write(to: path)

        let read = try #require(try RunCheckpoint.read(path, identity: identity))
        #expect(try read.progress(as: [String: Int].self) == ["epochs": 7])
        #expect(read.device == "cpu")
        let (first, second) = (try weights(seed: 8), try weights(seed: 9))
        try read.restore(first, from: "one")
        try read.restore(second, from: "two")
        #expect(try first.state() == one.state())
        #expect(try second.state() == two.state())
        let restored = try one.likeTrained().tensors
        try read.restore(restored, from: "adam/first", on: one.backend)
        for (name, tensor) in restored {
          let values: [Float] = try one.backend.read(tensor)
          #expect(values == (0..<values.count).map { Float($0) - 0.5 }, "\(name)")
        }
        for name in ["three", "on"] {
          #expect(throws: PBEError.self) { try read.restore(first, from: name) }
          #expect(throws: PBEError.self) { try read.restore(restored, from: name, on: one.backend) }
        }
        #expect(throws: PBEError.self) { try read.progress(as: [Int].self) }
      }
    }

    @Test func otherSettings() throws {
      try TestFiles.withDirectory { directory in
        let path = directory.path + "/checkpoint"
        try RunCheckpoint(RunIdentity(Settings()), device: "cpu").write(to: path)
        let error = #expect(throws: PBEError.self) {
          try RunCheckpoint.read(path, identity: RunIdentity(Settings(epochs: 4)))
        }
        #expect(error?.kind == .usage)
        #expect(error?.description.contains("epochs is 3, not 4") ?? false, "\(String(describing: error))")
      }
    }

    /// What differs is named however deep it lies, and however long the rest is.
    @Test func differenceOfNestedSettings() throws {
      struct Tuning: Encodable {
        var batch = [1, 2], name = String(repeating: "a", count: 200), rate: Float? = 0.5
      }
      struct Outer: Encodable { var defense: [String: Tuning], other = 1 }
      let one = try RunIdentity(Outer(defense: ["tuning": Tuning()]))
      func difference(_ tuning: Tuning) throws -> String? {
        one.difference(from: try RunIdentity(Outer(defense: ["tuning": tuning])))
      }
      #expect(try difference(Tuning()) == nil)
      #expect(try difference(Tuning(rate: 0.25)) == "defense.tuning.rate is 0.5, not 0.25")
      #expect(try difference(Tuning(rate: nil)) == "defense.tuning.rate is 0.5, not missing")
      #expect(try difference(Tuning(batch: [1])) == "defense.tuning.batch is [1,2], not [1]")
      #expect(
        try one.difference(from: RunIdentity(["defense": 1]))?.hasSuffix(", not 1") ?? false,
        "an object and a number")
    }

    @Test func damage() throws {
      try TestFiles.withDirectory { directory in
        let path = directory.path + "/checkpoint"
        let identity = try RunIdentity(Settings())
        var checkpoint = RunCheckpoint(identity, device: "cpu")
        try checkpoint.save(weights(seed: 1), as: "one")
        try checkpoint.setProgress(["epochs": 7])
        try checkpoint.write(to: path)
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        for at in stride(from: 0, to: whole.count, by: 97) {
          var bytes = whole
          bytes[at] ^= 1
          try AtomicFile.write(bytes, to: path)
          #expect(throws: PBEError.self, "byte \(at)") { try RunCheckpoint.read(path, identity: identity) }
          try AtomicFile.write(Array(whole[..<at]), to: path)
          #expect(throws: PBEError.self, "\(at) bytes") { try RunCheckpoint.read(path, identity: identity) }
        }
        // A model is no checkpoint.
        try Safetensors.write(weights(seed: 1).state(), to: path)
        #expect(throws: PBEError.self) { try RunCheckpoint.read(path, identity: identity) }
      }
    }
  }
}
