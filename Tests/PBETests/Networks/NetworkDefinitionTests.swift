import Foundation
import Kernels
import Parity
import Testing

@testable import PBE

/// The networks once more, as their authors' PyTorch modules have them, in float64: straight down, by the names of the
/// `state_dict`.
private struct Modules {
  let state: [String: ReferenceTensor]

  subscript(_ name: String) -> ReferenceTensor {
    get throws { try #require(state[name], "\(name)") }
  }

  func convolution(
    _ x: ReferenceTensor, _ name: String, stride: Int = 1, padding: Int = 1, bias: Bool = false
  ) throws -> ReferenceTensor {
    let filter = try self["\(name).weight"]
    return Reference.convolution(
      x, filter: filter, bias: bias ? try self["\(name).bias"] : nil,
      ConvolutionGeometry(
        kernelHeight: filter.shape.h, kernelWidth: filter.shape.w, stride: stride, padding: padding))
  }

  /// Batch norm with its running statistics, PyTorch's default epsilon, and a function after it.
  func norm(_ x: ReferenceTensor, _ name: String, _ activation: (Double) -> Double) throws -> ReferenceTensor
  {
    let (gamma, beta) = (try self["\(name).weight"], try self["\(name).bias"])
    let (mean, variance) = (try self["\(name).running_mean"], try self["\(name).running_var"])
    var y = x
    for i in y.values.indices {
      let c = i / (x.shape.h * x.shape.w) % x.shape.c
      y.values[i] = activation(
        (x.values[i] - mean.values[c]) / (variance.values[c] + 1e-5).squareRoot() * gamma.values[c]
          + beta.values[c])
    }
    return y
  }

  /// Of all of an image's values, channel by channel.
  func linear(_ x: ReferenceTensor, _ name: String, _ activation: (Double) -> Double = { $0 }) throws
    -> ReferenceTensor
  {
    let (weight, bias) = (try self["\(name).weight"].values, try self["\(name).bias"].values)
    let (images, inputs, outputs) = (x.shape.n, x.values.count / x.shape.n, bias.count)
    var y = ReferenceTensor(Shape(images, outputs))
    for n in 0..<images {
      for o in 0..<outputs {
        y.values[n * outputs + o] = activation(
          (0..<inputs).reduce(bias[o]) { $0 + weight[o * inputs + $1] * x.values[n * inputs + $1] })
      }
    }
    return y
  }

  static func relu(_ x: Double) -> Double { max(0, x) }

  /// He et al.'s pre-activation block.
  func block(_ x: ReferenceTensor, _ name: String, stride: Int, shortcut: String) throws -> ReferenceTensor {
    let first = try norm(x, "\(name).bn1", Self.relu)
    let second = try norm(convolution(first, "\(name).conv1", stride: stride), "\(name).bn2", Self.relu)
    var y = try convolution(second, "\(name).conv2")
    let hasShortcut = state["\(name).\(shortcut).weight"] != nil
    #expect(hasShortcut == (y.shape != x.shape), "\(name)")
    let side =
      hasShortcut ? try convolution(first, "\(name).\(shortcut)", stride: stride, padding: 0) : x
    for i in y.values.indices { y.values[i] += side.values[i] }
    return y
  }

  func logits(_ architecture: Architecture, _ images: ReferenceTensor) throws -> ReferenceTensor {
    var x = images
    func pool(_ kind: PoolGeometry.Kind, _ size: Int) {
      x = Reference.pool(x, PoolGeometry(kind, kernelHeight: size, kernelWidth: size, stride: size))
    }
    switch architecture {
    case .preactresnet18:
      x = try convolution(x, "conv1")
      for layer in 1...4 {
        x = try block(x, "layer\(layer).0", stride: layer > 1 ? 2 : 1, shortcut: "shortcut.0")
        x = try block(x, "layer\(layer).1", stride: 1, shortcut: "shortcut.0")
      }
      pool(.average, 4)
      return try linear(x, "linear")
    case .wrn16x1:
      x = try convolution(x, "conv1")
      for group in 1...3 {
        x = try block(x, "block\(group).layer.0", stride: group > 1 ? 2 : 1, shortcut: "convShortcut")
        x = try block(x, "block\(group).layer.1", stride: 1, shortcut: "convShortcut")
      }
      x = try norm(x, "bn1", Self.relu)
      pool(.average, 8)
      return try linear(x, "fc")
    case .smallVGG:
      for first in [0, 8, 16] {
        for position in [first, first + 3] {
          x = try norm(convolution(x, "features.\(position)", bias: true), "features.\(position + 1)") {
            $0 > 0 ? $0 : exp($0) - 1
          }
        }
        pool(.maximum, 2)
      }
      return try linear(x, "classifier")
    case .mnistNet:
      x = try convolution(x, "conv1", stride: 2, bias: true)
      for i in x.values.indices { x.values[i] = Self.relu(x.values[i]) }
      for layer in ["layer2", "layer3"] {
        x = try convolution(norm(x, "\(layer).bn1", Self.relu), "\(layer).conv1", stride: 2)
      }
      return try linear(linear(x, "linear6", Self.relu), "linear9")
    }
  }
}

extension DeviceTests {
  struct NetworkDefinitionTests {
    /// Names and shapes alone would let a model answer wrongly: another function, a norm left out.
    @Test(arguments: TestDevices.usable.indices, Architecture.allCases)
    func logitsAreTheDefinitions(_ device: Int, architecture: Architecture) throws {
      let backend = TestDevices.usable[device]
      let isGrey = architecture == .mnistNet
      let specification = NetworkSpecification(
        architecture, width: architecture == .wrn16x1 ? nil : 4, classes: 5, channels: isGrey ? 1 : 3,
        height: isGrey ? 28 : 32, imageWidth: isGrey ? 28 : 32)
      let weights = try Weights(specification.graph(), on: backend)
      try weights.initialise(seed: 3)
      var stream = PhiloxStream(seed: 8, purpose: 0)
      func uniform(_ count: Int, from low: Float, to high: Float) -> [Float] {
        (0..<count).map { _ in low + (high - low) * stream.nextUniform() }
      }
      var state: [String: ReferenceTensor] = [:]
      for parameter in weights.graph.parameters {
        let tensor = try weights.tensor(parameter.name)
        let count = parameter.shape.count
        // As after training: no vector is all zeros or ones.
        switch parameter.kind {
        case .weight: break
        case .gamma, .runningVariance: try backend.write(uniform(count, from: 0.5, to: 1.5), to: tensor)
        case .bias, .beta, .runningMean: try backend.write(uniform(count, from: -0.5, to: 0.5), to: tensor)
        }
        state[parameter.name] = ReferenceTensor(
          parameter.shape, try backend.read(tensor, as: Float.self).map(Double.init))
      }
      let images = Shape(2, specification.channels, specification.height, specification.imageWidth)
      let pixels = uniform(images.count, from: 0, to: 1)
      let wanted = try Modules(state: state).logits(
        architecture, ReferenceTensor(images, pixels.map(Double.init)))
      let answers = try NetworkProbe(weights).answers(to: pixels)
      #expect(normalisedError(answers.logits, wanted.values) < 1e-10)
    }
  }
}
