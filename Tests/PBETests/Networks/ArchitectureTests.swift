import Kernels
import Testing

@testable import PBE

struct ArchitectureTests {
  private func trainedCount(_ specification: NetworkSpecification) throws -> Int {
    try specification.graph().parameters.filter(\.isTrained).reduce(0) { $0 + $1.shape.count }
  }

  /// Parameter counts that PyTorch gives for the same networks.
  @Test func parameterCounts() throws {
    #expect(try trainedCount(NetworkSpecification(.preactresnet18, classes: 10, channels: 3)) == 11_171_146)
    #expect(try trainedCount(NetworkSpecification(.preactresnet18, classes: 43, channels: 3)) == 11_188_075)
    #expect(
      try trainedCount(
        NetworkSpecification(.mnistNet, classes: 10, channels: 1, height: 28, imageWidth: 28)) == 585_738)
  }

  @Test func multiplyAdds() throws {
    let graph = try NetworkSpecification(.preactresnet18, classes: 10, channels: 3).graph()
    #expect(graph.multiplyAdds == 555_422_720)
  }

  @Test func stateNames() throws {
    let names = try NetworkSpecification(.preactresnet18, width: 8, classes: 10, channels: 3).graph()
      .parameters.map(\.name)
    #expect(names.contains("layer2.0.shortcut.0.weight"))
    #expect(!names.contains("layer1.0.shortcut.0.weight"))
    let wrn = try NetworkSpecification(.wrn16x1, classes: 10, channels: 3).graph().parameters.map(\.name)
    #expect(wrn.contains("block2.layer.0.convShortcut.weight"))
    #expect(wrn.contains("bn1.running_mean"))
  }

  @Test func refusesWhatMakesNoSense() {
    let wrong = [
      NetworkSpecification(.preactresnet18, width: 0, classes: 10, channels: 3),
      NetworkSpecification(.preactresnet18, classes: 1, channels: 3),
      NetworkSpecification(.preactresnet18, classes: 10, channels: 3, height: 64, imageWidth: 64),
      NetworkSpecification(.preactresnet18, classes: 10, channels: 3, mean: [0.5], deviation: [0.5]),
      NetworkSpecification(.preactresnet18, classes: 10, channels: 1, mean: [0.5], deviation: [0]),
    ]
    for specification in wrong {
      #expect { try specification.graph() } throws: { ($0 as? PBEError)?.kind == .usage }
    }
  }

  /// A model file brings back the same network and the same weights.
  @Test func modelFileRoundTrip() throws {
    let folder = try ScratchFolder()
    let path = "\(folder.path)/model.safetensors"
    let specification = NetworkSpecification(
      .smallVGG, width: 8, classes: 5, channels: 3, mean: [0.1, 0.2, 0.3], deviation: [0.5, 0.6, 0.7])
    let weights = try Weights(specification.graph(), on: TestDevices.cpu)
    try weights.initialise(seed: 9)
    try ModelFile.save(weights, specification, provenance: ["seed": "9"], to: path)
    let file = try ModelFile.load(path, hints: ModelFile.Hints())
    #expect(file.specification == specification)
    #expect(file.provenance == ["seed": "9"])
    let loaded = try file.weights(on: TestDevices.cpu, place: path)
    #expect(try TestDevices.cpu.read(loaded.trained) == TestDevices.cpu.read(weights.trained))
    #expect { try ModelFile.load(path, hints: ModelFile.Hints(architecture: .wrn16x1)) } throws: {
      ($0 as? PBEError)?.kind == .usage
    }
    #expect { try ModelFile.load(path, hints: ModelFile.Hints(classes: 10)) } throws: {
      ($0 as? PBEError)?.kind == .usage
    }
  }

  @Test func initialValuesAreBounded() throws {
    let weights = try Weights(
      NetworkSpecification(.preactresnet18, width: 4, classes: 10, channels: 3).graph(), on: TestDevices.cpu)
    try weights.initialise(seed: 1)
    let stem = try TestDevices.cpu.read(weights.tensor("conv1.weight"))
    let bound = 1 / Float(27).squareRoot()
    #expect(stem.allSatisfy { abs($0) <= bound })
    #expect((stem.map(abs).max() ?? 0) > 0.8 * bound)
    #expect(try TestDevices.cpu.read(weights.tensor("layer1.0.bn1.weight")).allSatisfy { $0 == 1 })
  }
}
