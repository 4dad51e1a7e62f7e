import Kernels

extension Weights {
  /// The weights as a PyTorch `state_dict`, complete for its strict loading: batch norm's `num_batches_tracked`, which
  /// only a momentum of `None` would use, is 0.
  public func state() throws -> StateDictionary {
    var state = StateDictionary()
    for specification in graph.parameters {
      state[specification.name] = HostTensor(
        try backend.read(tensor(specification.name)), shape: specification.stateShape)
      if specification.kind == .runningVariance {
        let prefix = specification.name.dropLast("running_var".count)
        state["\(prefix)num_batches_tracked"] = HostTensor(
          type: .int64, shape: [], bytes: Array(repeating: 0, count: 8))
      }
    }
    return state
  }

  /// Throws `badData` naming the first entries of a `state_dict` that are missing, superfluous or of the wrong shape for
  /// `graph`. Allocates nothing: a file can claim any network.
  static func check(_ state: StateDictionary, fits graph: Graph, place: String) throws {
    let wanted = graph.parameters
    let names = Set(wanted.map(\.name))
    let missing = wanted.map(\.name).filter { state[$0] == nil }
    let extra = state.names.filter { !names.contains($0) && !$0.hasSuffix("num_batches_tracked") }
    guard missing.isEmpty, extra.isEmpty else {
      var parts: [String] = []
      if let first = missing.first { parts.append("\(missing.count) entries are missing (\(first), ...)") }
      if let first = extra.first { parts.append("\(extra.count) are unknown (\(first.printable()), ...)") }
      throw PBEError(
        .badData, "the weights don't fit the network: \(parts.joined(separator: ", "))", at: place,
        remedy: "check --architecture and --width")
    }
    for specification in wanted {
      if let shape = state[specification.name]?.shape, shape != specification.stateShape {
        throw PBEError(
          .badData,
          "\(specification.name) has shape \(shape), but the network needs \(specification.stateShape)",
          at: place, remedy: "check --architecture and --width")
      }
    }
  }

  /// Takes the values of a `state_dict`; batch norm's `num_batches_tracked` is not needed. Throws `badData` naming
  /// the first entries that are missing, superfluous, of the wrong shape or not finite.
  public func load(_ state: StateDictionary, place: String) throws {
    try Self.check(state, fits: graph, place: place)
    for specification in graph.parameters {
      guard let tensor = state[specification.name] else { continue }
      let values = tensor.floats()
      guard values.allSatisfy(\.isFinite) else {
        throw PBEError(
          .badData, "\(specification.name) holds values that are not finite", at: place,
          remedy: "the model is damaged or its training diverged")
      }
      if specification.kind == .runningVariance, values.contains(where: { $0 < 0 }) {
        throw PBEError(
          .badData, "\(specification.name) holds a negative variance", at: place,
          remedy: "the model is damaged")
      }
      try backend.write(values, to: self.tensor(specification.name))
    }
  }
}
