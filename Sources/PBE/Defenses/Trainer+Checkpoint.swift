import Kernels

extension Trainer {
  /// Adds the network, the optimizer and the position to a checkpoint, under names that begin with `name`.
  public func save(to checkpoint: inout RunCheckpoint, as name: String) throws {
    try checkpoint.save(weights, as: "\(name)/network")
    try checkpoint.save(optimizer.velocities, as: "\(name)/velocity", on: weights.backend)
    try checkpoint.save(["totals": totals], as: name, on: weights.backend)
  }

  /// Goes on from where ``save(to:as:)`` was called, at the position of then. Throws `badData` when the checkpoint does not fit.
  public func restore(from checkpoint: RunCheckpoint, as name: String, at position: Position) throws {
    try checkpoint.restore(weights, from: "\(name)/network")
    try checkpoint.restore(optimizer.velocities, from: "\(name)/velocity", on: weights.backend)
    try checkpoint.restore(["totals": totals], from: name, on: weights.backend)
    self.position = position
  }
}
