import Foundation
import Kernels

/// The state of a run between two steps, in one file: tensors of any number of networks and optimizers under names of
/// their own, a JSON text that says how far the run is, and the run's identity, which must match when it goes on.
///
/// The file is safetensors; everything but the tensors is metadata. It is written whole or not at all, and carries a
/// checksum of all that.
public struct RunCheckpoint: Sendable {
  /// Whose it is.
  public let identity: RunIdentity
  /// The device that it was written on: on another one the run goes on, but not bit for bit.
  public let device: String
  /// The kernels that it was made with; `nil` where the device has no choice.
  public let choices: KernelChoices?
  /// The file that it was read from.
  private let place: String
  private var tensors = StateDictionary()
  private var progress = ""

  private static let version = "1"
  private static let remedy = "delete the file to start over"

  /// An empty checkpoint of a run on a device.
  public init(_ identity: RunIdentity, device: String, choices: KernelChoices? = nil) {
    self.identity = identity
    self.device = device
    self.choices = choices
    place = "checkpoint"
  }

  /// The error for a checkpoint at `path` that says to be where its run never is.
  static func wrongPosition(_ path: String?) -> PBEError {
    PBEError(.badData, "the checkpoint's position is wrong", at: path, remedy: remedy)
  }

  // MARK: - Contents

  /// Remembers how far the run is. Throws `internal` when the value can't be encoded.
  public mutating func setProgress(_ value: some Encodable) throws { progress = try Self.text(value) }

  private static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return String(decoding: try encoder.encode(value), as: UTF8.self) } catch {
      throw PBEError(.internal, "the run's state can't be encoded: \(error)")
    }
  }

  /// How far the run is. Throws `badData` when that is not what this kind of run writes.
  public func progress<Value: Decodable>(as type: Value.Type) throws -> Value {
    do { return try JSONDecoder().decode(type, from: Data(progress.utf8)) } catch {
      throw PBEError(.badData, "the run's progress can't be read", at: place, remedy: Self.remedy)
    }
  }

  /// Copies a network's parameters and statistics from its device, under `name`.
  public mutating func save(_ weights: Weights, as name: String) throws {
    for (key, tensor) in try weights.state().entries { tensors["\(name)/\(key)"] = tensor }
  }

  /// Copies a network's parameters and statistics back. Throws `badData` when they are not those of the network.
  public func restore(_ weights: Weights, from name: String) throws {
    var state = StateDictionary()
    for (key, tensor) in tensors.entries where key.hasPrefix("\(name)/") {
      state[String(key.dropFirst(name.count + 1))] = tensor
    }
    try weights.load(state, place: place)
  }

  /// Copies float32 tensors from their device: an optimizer's state, sums.
  public mutating func save(_ values: [String: Tensor], as name: String, on backend: any Backend) throws {
    for (key, tensor) in values {
      let numbers: [Float] = try backend.read(tensor)
      tensors["\(name)/\(key)"] = HostTensor(numbers, shape: [numbers.count])
    }
  }

  /// Copies float32 tensors back. Throws `badData` when one is missing or of another size.
  public func restore(_ values: [String: Tensor], from name: String, on backend: any Backend) throws {
    for (key, tensor) in values {
      guard let saved = tensors["\(name)/\(key)"], saved.type == .float32, saved.count == tensor.shape.count
      else {
        throw PBEError(
          .badData, "the checkpoint has no \(name)/\(key) of \(tensor.shape.count) numbers", at: place,
          remedy: Self.remedy)
      }
      try backend.write(saved.floats(), to: tensor)
    }
  }

  /// Keeps numbers under `name`.
  public mutating func save(_ numbers: [Float], as name: String) {
    tensors[name] = HostTensor(numbers, shape: [numbers.count])
  }

  /// The numbers under `name`. Throws `badData` when there are none.
  public func numbers(named name: String) throws -> [Float] {
    guard let saved = tensors[name], saved.type == .float32 else {
      throw PBEError(.badData, "the checkpoint has no \(name)", at: place, remedy: Self.remedy)
    }
    return saved.floats()
  }

  /// How far the run is, as JSON, for those who only look. Throws `badData`.
  func progressJSON() throws -> StrictJSON { try StrictJSON.parse(Array(progress.utf8)[...], place: place) }

  // MARK: - The file

  /// Writes the checkpoint, all or nothing. Throws as ``AtomicFile`` does.
  public func write(to path: String) throws {
    var metadata = [
      "format_version": Self.version, "kind": "checkpoint", "settings": identity.text, "progress": progress,
      "device": device,
    ]
    metadata["kernels"] = try choices.map(Self.text)
    metadata["checksum"] = Self.checksum(tensors, metadata)
    try Safetensors.write(tensors, metadata: metadata, to: path)
  }

  /// Reads the checkpoint at `path`; `nil` when there is no such file. Throws `badData` when it is damaged, and `usage`
  /// when it belongs to another run than `identity`.
  public static func read(_ path: String, identity: RunIdentity) throws -> RunCheckpoint? {
    guard InputFile.exists(path) else { return nil }
    let found = try read(path)
    if let difference = found.identity.difference(from: identity) {
      throw PBEError(
        .usage, "the checkpoint belongs to another run: its \(difference)", at: path,
        remedy: "give the same options and data, or start over without --resume")
    }
    return found
  }

  /// Reads the checkpoint at `path`, whosever it is. Throws `missingInput`, and `badData` when it is damaged.
  public static func read(_ path: String) throws -> RunCheckpoint {
    let file = try Checkpoint.load(path)
    let metadata = file.metadata
    guard metadata["kind"] == "checkpoint", metadata["format_version"] == version else {
      throw PBEError(
        .badData, "this is no checkpoint of a run that this version can go on with", at: path, remedy: remedy)
    }
    guard metadata["checksum"] == checksum(file.state, metadata.filter { $0.key != "checksum" }) else {
      throw PBEError(
        .badData, "the checkpoint is damaged: its checksum is another one", at: path, remedy: remedy)
    }
    return RunCheckpoint(
      identity: try RunIdentity(text: metadata["settings"] ?? "", place: path),
      device: metadata["device"] ?? "",
      // Another version's choices would be refused as those of other kernels.
      choices: metadata["kernels"].flatMap {
        try? JSONDecoder().decode(KernelChoices.self, from: Data($0.utf8))
      }, place: path, tensors: file.state,
      progress: metadata["progress"] ?? "")
  }

  private init(
    identity: RunIdentity, device: String, choices: KernelChoices?, place: String, tensors: StateDictionary,
    progress: String
  ) {
    self.identity = identity
    self.device = device
    self.choices = choices
    self.place = place
    self.tensors = tensors
    self.progress = progress
  }

  private static func checksum(_ tensors: StateDictionary, _ metadata: [String: String]) -> String {
    var sum = Checksum()
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      sum.update(Array("\(key)\0\(value)\0".utf8))
    }
    for (name, tensor) in tensors.entries.sorted(by: { $0.name < $1.name }) {
      sum.update(Array("\(name)\0".utf8))
      sum.update(tensor.bytes)
    }
    return sum.hex
  }
}
