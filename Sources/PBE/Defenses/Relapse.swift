import Kernels

/// How quickly a purified model learns its backdoor again: plain training on a few poisoned images (Min et al.,
/// "Uncovering, explaining, and mitigating the superficial safety of backdoor defense", NeurIPS 2024).
public struct Relapse: Sendable, Codable, Hashable {
  /// Poisoned training images, chosen by the seed.
  public var images = 10
  /// Passes over them.
  public var epochs = 5
  /// The learning rate of SGD, constant: the paper's. With ten times as much, images that all have the attacker's label make
  /// the model answer that whatever it sees.
  public var learning_rate: Float = 0.001
  /// The key of all random numbers.
  public var seed: UInt64 = 0
  /// The most images of a batch: so many have to fit into memory. Fewer are one batch.
  private static let largestBatch = 128

  /// The defaults.
  public init() {}

  /// Throws `badData` when there are not enough poisoned images: for a check before long work.
  public func check(_ poison: PoisonedSet) throws {
    guard poison.count >= images else {
      throw PBEError(
        .badData, "there are \(poison.count) poisoned images, not \(images)", at: "--relapse",
        remedy: "use fewer")
    }
  }

  /// Trains `weights` in place on poisoned images of `training`; `poison` says which are. Throws as ``check(_:)``.
  ///
  /// - Parameter progress: called after each step; throwing stops the training.
  public func run(
    _ weights: Weights, training: DeviceImages, poison: PoisonedSet, progress: () throws -> Void = {}
  ) throws {
    try check(poison)
    let chosen = Permutation.of(training.count, seed: seed, purpose: RandomPurpose.relapse).lazy
      .filter { poison.roles[$0] == .poisoned }.prefix(images)
    var settings = TrainingSettings()
    settings.learning_rate = learning_rate
    settings.batch = min(images, Self.largestBatch)
    settings.seed = seed
    let trainer = try Trainer(weights, data: training, settings: settings)
    for _ in 0..<epochs {
      try trainer.epoch(
        on: Array(chosen), learningRate: { _, _ in learning_rate }, progress: { _ in try progress() })
    }
  }
}
