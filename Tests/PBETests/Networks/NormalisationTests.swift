import Kernels
import Testing

@testable import PBE

extension DeviceTests {
  struct NormalisationTests {
    /// A network that normalises its input answers as the plain one does to images that are normalised already, each channel
    /// by its own numbers; also where a convolution does it on load.
    @Test(arguments: TestDevices.usable.indices, [Architecture.preactresnet18, .wrn16x1, .smallVGG])
    func isPerChannel(_ device: Int, architecture: Architecture) throws {
      let backend = TestDevices.usable[device]
      let (mean, deviation): ([Float], [Float]) = ([0.1, 0.5, 0.7], [0.2, 0.4, 0.9])
      func weights(_ mean: [Float], _ deviation: [Float]) throws -> Weights {
        let width = architecture == .wrn16x1 ? nil : 4
        return try Weights(
          NetworkSpecification(
            architecture, width: width, classes: 5, channels: 3, mean: mean, deviation: deviation
          ).graph(), on: backend)
      }
      let (plain, normalising) = (try weights([], []), try weights(mean, deviation))
      try plain.initialise(seed: 3)
      try normalising.initialise(seed: 3)
      var stream = PhiloxStream(seed: 5, purpose: 0)
      let pixels = (0..<4 * 3 * 1024).map { _ in stream.nextUniform() }
      let normalised = pixels.enumerated().map { index, pixel in
        (pixel - mean[index / 1024 % 3]) / deviation[index / 1024 % 3]
      }
      let answers = try NetworkProbe(normalising).answers(to: pixels).logits
      #expect(normalisedError(answers, try NetworkProbe(plain).answers(to: normalised).logits) < 1e-9)
      #expect(normalisedError(answers, try NetworkProbe(plain).answers(to: pixels).logits) > 1e-3)
    }
  }
}
