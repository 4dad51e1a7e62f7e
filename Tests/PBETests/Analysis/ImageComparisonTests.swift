import Foundation
import Testing

@testable import PBE

/// Distances, cosines and neurons on images of three pixels and twenty channels.
struct ImageComparisonTests {
  private func view(_ pixels: [Float], _ features: [Float]) -> ImageComparison.View {
    ImageComparison.View(
      pixels: pixels,
      answers: NetworkProbe.Answers(classes: 1, channels: 20, logits: [0, 0], features: features))
  }

  /// Features of two images: `values` at these channels of the second one, else zero.
  private func features(_ values: [Int: Float]) -> [Float] { (0..<40).map { values[$0 - 20] ?? 0 } }

  @Test func likeTheTrigger() {
    let clean = view([0, 0, 0, 0.5, 0.5, 0.5], features([:]))
    let triggered = view([0, 0, 0, 0.9, 0.5, 0.2], features([3: 2]))
    let halfway = view([0, 0, 0, 0.7, 0.5, 0.35], features([3: 1]))
    let found = ImageComparison(
      clean: clean, triggered: triggered, adversarial: halfway, chosen: [1], imageSize: 3)
    #expect(found.images == 1)
    #expect(abs(found.pixels.triggerChange - 0.5) < 1e-6)
    #expect(abs(found.pixels.adversarialChange - 0.25) < 1e-6)
    #expect(abs(found.pixels.adversarialToTriggered - 0.25) < 1e-6)
    #expect(abs(found.pixels.cosine - 1) < 1e-6)
    #expect(found.features.adversarialToTriggered == 1 && found.features.cleanToTriggered == 2)
    #expect(found.features.nearerThanClean == 1 && abs(found.features.cosineOfChanges - 1) < 1e-12)
    // 5% of 20 channels: one, the same.
    #expect(found.neurons.top == 1 && found.neurons.channels == 20)
    #expect(found.neurons.jaccard == 1 && found.neurons.coverage == 1)
    #expect(abs(found.neurons.randomCoverage - 0.05) < 1e-12)
    #expect(found.features.benignToTriggered == nil && found.neurons.benignCoverage == nil)
  }

  @Test func unlikeTheTrigger() {
    let clean = view([0, 0, 0, 0.5, 0.5, 0.5], features([:]))
    let triggered = view([0, 0, 0, 0.9, 0.5, 0.5], features([3: 2]))
    let across = view([0, 0, 0, 0.5, 0.1, 0.5], features([7: 2]))
    let found = ImageComparison(
      clean: clean, triggered: triggered, adversarial: across, benign: triggered, chosen: [1], imageSize: 3)
    #expect(abs(found.pixels.cosine) < 1e-6)
    #expect(found.features.cosine == 0 && found.features.cosineOfChanges == 0)
    #expect(found.features.nearerThanClean == 0)
    #expect(found.neurons.jaccard == 0 && found.neurons.coverage == 0)
    // The "benign" example is the triggered image itself.
    #expect(found.features.benignToTriggered == 0 && found.features.nearerThanBenign == 0)
    #expect(found.neurons.benignCoverage == 1 && found.neurons.benignJaccard == 1)
  }

  /// Means are over the chosen images only; without any, all is zero.
  @Test func chosenImages() {
    let clean = view([0, 0, 0, 0, 0, 0], features([:]))
    let moved = view([1, 0, 0, 0, 3, 4], features([1: 1]))
    let all = ImageComparison(
      clean: clean, triggered: moved, adversarial: moved, chosen: [0, 1], imageSize: 3)
    #expect(abs(all.pixels.triggerChange - 3) < 1e-6)
    #expect(
      ImageComparison(clean: clean, triggered: moved, adversarial: moved, chosen: [], imageSize: 3)
        .pixels.triggerChange == 0)
  }
}
