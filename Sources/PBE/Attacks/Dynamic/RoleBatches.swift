import Kernels

/// The order in which the input-aware attack's second stage goes through a poisoned set. Every batch has the same
/// numbers of poisoned, cross and clean images, in this order: poisoned, partners of the cross images, cross, clean. The
/// partners are clean images of the batch, so that the generators see the first two parts only, and once.
struct RoleBatches {
  /// Images of each role per batch.
  let poisoned: Int, cross: Int, clean: Int
  /// Batches per epoch: as many as are full.
  let count: Int
  /// Images per batch.
  var batch: Int { poisoned + cross + clean }
  /// The rows at a batch's start that generators make patterns for.
  var patterns: Int { poisoned + cross }

  private let members: [[Int]]
  private let seed: UInt64

  /// Throws `badData` when there is nothing poisoned, or too little clean for a batch, and when the poisoned
  /// share of a batch, a whole number of images, is more than a quarter off the set's.
  init(_ roles: [ImageRole], batch: Int, seed: UInt64) throws {
    let batch = min(batch, roles.count)
    members = [ImageRole.poisoned, .cross, .clean].map { role in
      roles.indices.filter { roles[$0] == role }
    }
    func share(_ part: [Int]) -> Int {
      part.isEmpty
        ? 0 : max(1, Int((Double(part.count) * Double(batch) / Double(roles.count)).rounded()))
    }
    poisoned = share(members[0])
    cross = share(members[1])
    clean = batch - poisoned - cross
    count = roles.count / max(1, batch)
    self.seed = seed
    let exact = Double(members[0].count) * Double(batch) / Double(max(1, roles.count))
    guard abs(Double(poisoned) - exact) <= exact / 4 else {
      let safe = (2 * roles.count + members[0].count - 1) / members[0].count
      throw PBEError(
        .badData,
        "\(poisoned) of each batch of \(batch) images would be poisoned, where \(members[0].count) of all "
          + "\(roles.count) are: another poison rate than the attack's", at: "attack dynamic",
        remedy: "use a --batch of \(safe) or more, or a higher poison rate")
    }
    guard poisoned > 0, clean >= cross, members[2].count >= clean, clean > 0 else {
      throw PBEError(
        .badData,
        "\(members[0].count) poisoned, \(members[1].count) cross and \(members[2].count) clean images don't make "
          + "batches of \(batch)", at: "attack dynamic",
        remedy:
          "the attack needs poisoned images, and as many clean ones as cross ones: change the poison rate or --batch"
      )
    }
  }

  /// For each row of a batch the flag of ``ApplyTrigger``: the pattern that it takes.
  var flags: [Int32] {
    Array(repeating: 1, count: poisoned) + Array(repeating: 0, count: cross)
      + Array(repeating: Int32(cross) + 1, count: cross) + Array(repeating: 0, count: clean - cross)
  }

  /// The data set's indices, batch after batch. Each role in an order of its own; where shares are not whole numbers a few
  /// images come twice in an epoch, or not at all.
  func order(epoch: UInt32) -> [Int32] {
    let shuffled = members.enumerated().map { which, part in
      Permutation.of(
        part.count, seed: seed, purpose: RandomPurpose.roleOrder + UInt32(which), epoch: epoch
      ).map { Int32(part[$0]) }
    }
    var taken = [0, 0, 0]
    func next(_ role: Int, _ wanted: Int) -> [Int32] {
      defer { taken[role] += wanted }
      return (0..<wanted).map { shuffled[role][(taken[role] + $0) % shuffled[role].count] }
    }
    return (0..<count).flatMap { _ in
      let others = next(2, clean)
      return next(0, poisoned) + others.prefix(cross) + next(1, cross) + others.dropFirst(cross)
    }
  }
}
