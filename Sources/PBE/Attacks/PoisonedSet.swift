import Kernels

/// The poisoned part of a training set: a function of the attack, its seed and the training set's labels, so that every
/// command of a run poisons the same images. Drawn from all classes, as BackdoorBench does, or from the target
/// class where the attack keeps labels.
public struct PoisonedSet: Sendable, Equatable {
  /// What each image is.
  public let roles: [ImageRole]
  /// The labels that the poisoned training set has.
  public let labels: [Int32]
  /// The number of poisoned images.
  public var count: Int { roles.count { $0 == .poisoned } }
  /// The number of cross images.
  public var crossCount: Int { roles.count { $0 == .cross } }

  /// A poisoned set that is known already: what each image is, and its label.
  public init(roles: [ImageRole], labels: [Int32]) {
    self.roles = roles
    self.labels = labels
  }

  /// The part of the set at `indices`.
  public func subset(_ indices: [Int]) -> PoisonedSet {
    PoisonedSet(roles: indices.map { roles[$0] }, labels: indices.map { labels[$0] })
  }

  /// Poisons `images` by `attack`. Throws `badData` when there are not enough images for it.
  public init(_ images: LabeledImages, _ attack: AttackFile) throws {
    let keepsLabels = attack.attack.isCleanLabel
    guard !keepsLabels || attack.mode == .allToOne else {
      throw PBEError(
        .badData, "an attack that keeps the labels has one target class", at: attack.place("attack, mode"),
        remedy: "use all-to-one, or the label \"dirty\"")
    }
    let order = Permutation.of(images.count, seed: attack.poisonSeed, purpose: RandomPurpose.poisonChoice)
    let eligible = keepsLabels ? order.filter { Int(images.labels[$0]) == attack.target } : order
    let wanted = Int((attack.poisonRate * Double(images.count)).rounded())
    guard wanted <= eligible.count else {
      throw PBEError(
        .badData,
        "a poison rate of \(attack.poisonRate) asks for \(wanted) images of class \(attack.target), but there are "
          + "\(eligible.count)", at: images.name,
        remedy: "use a poison rate of at most \(Double(eligible.count) / Double(images.count))")
    }
    guard attack.attack.crossRatio >= 0 else {
      throw PBEError(
        .badData, "a cross ratio of \(attack.attack.crossRatio) is none",
        at: attack.place("attack, cross_ratio"),
        remedy: "use 0 or more cross images per poisoned one")
    }
    let cross = (attack.attack.crossRatio * Double(wanted)).rounded()
    guard cross <= Double(images.count - wanted) else {
      throw PBEError(
        .badData,
        "\(wanted) poisoned images with \(attack.attack.crossRatio) cross images each are more than the "
          + "\(images.count) there are", at: images.name, remedy: "use a smaller poison rate or cross ratio")
    }
    var roles = [ImageRole](repeating: .clean, count: images.count)
    for index in eligible.prefix(wanted) { roles[index] = .poisoned }
    for index in order.lazy.filter({ roles[$0] == .clean }).prefix(Int(cross)) { roles[index] = .cross }
    self.roles = roles
    labels = zip(images.labels, roles).map { label, role in
      role == .poisoned && !keepsLabels ? attack.targetLabel(of: label, classes: images.classes) : label
    }
  }
}

/// Pseudo-random orders that are the same on every machine and Swift release.
public enum Permutation {
  /// A permutation of 0..<count.
  public static func of(_ count: Int, seed: UInt64, purpose: UInt32, epoch: UInt32 = 0) -> [Int] {
    var order = Array(0..<count)
    var stream = PhiloxStream(seed: seed, purpose: purpose, epoch: epoch)
    for position in 0..<max(0, count - 1) {
      let offset = (UInt64(stream.nextWord()) * UInt64(count - position)) >> 32
      order.swapAt(position, position + Int(offset))
    }
    return order
  }
}
