import Kernels

/// Finds the state dictionary in a checkpoint's pickle and reads its tensors.
enum TorchStateReader {
  /// Where training programs put the state dictionary beside other things, in the order tried.
  static let keys = ["state_dict", "net", "netC", "model", "model_state_dict"]

  /// The tensors of the state dictionary; `storage` gives a storage's bytes, or nil when the file has none
  /// of it.
  static func read(
    _ pickle: Pickle, fileSize: Int, place: String, storage: (PickleStorage) throws -> ArraySlice<UInt8>?
  ) throws -> StateDictionary {
    let entries = try stateEntries(pickle, place: place)
    var reader = TorchTensorReader(fileSize: fileSize, place: place)
    var state = StateDictionary()
    for (name, tensor) in entries {
      guard let bytes = try storage(tensor.storage) else {
        throw PBEError(
          .badData,
          "the storage \(tensor.storage.key.printable()) of the tensor \(name.printable()) is missing",
          at: place, remedy: "the checkpoint is damaged; copy or download it again")
      }
      guard state[name] == nil else {
        throw PBEError(.badData, "the state dictionary has \(name.printable()) twice", at: place)
      }
      state[name] = try reader.tensor(tensor, named: name, from: bytes)
    }
    return state
  }

  private static func stateEntries(_ pickle: Pickle, place: String) throws -> [(String, PickleTensor)] {
    let candidates = keys.compactMap { pickle.member($0, of: pickle.root) } + [pickle.root]
    guard let chosen = candidates.first(where: { holdsTensors($0, in: pickle) }) else {
      throw PBEError(
        .badData, "the checkpoint has no state dictionary: \(contents(pickle))", at: place,
        remedy: "save model.state_dict(), alone or under one of the keys \(keys.joined(separator: ", "))")
    }
    var entries: [(String, PickleTensor)] = []
    for (key, value) in pickle.entries(chosen) ?? [] {
      guard case .string(let name) = key else {
        throw PBEError(.badData, "the state dictionary has \(key.kind) for a name", at: place)
      }
      guard case .tensor(let index) = value else {
        // What modules keep besides tensors (get_extra_state) has no part in computing the network.
        if name.hasSuffix("_extra_state") { continue }
        throw PBEError(
          .badData, "the state dictionary's \(name.printable()) is \(value.kind), not a tensor", at: place,
          remedy: "save model.state_dict()")
      }
      entries.append((name, pickle.tensors[index]))
    }
    return entries
  }

  private static func holdsTensors(_ value: PickleValue, in pickle: Pickle) -> Bool {
    pickle.entries(value)?.contains {
      if case .tensor = $0.value { true } else { false }
    } ?? false
  }

  private static func contents(_ pickle: Pickle) -> String {
    guard let entries = pickle.entries(pickle.root) else { return "it holds \(pickle.root.kind)" }
    let names = entries.prefix(8).map {
      if case .string(let name) = $0.key { name.printable(limit: 30) } else { $0.key.kind }
    }
    return names.isEmpty
      ? "it holds an empty dict"
      : "its keys are \(names.joined(separator: ", "))\(entries.count > 8 ? ", ..." : "")"
  }
}
