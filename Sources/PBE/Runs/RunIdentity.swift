import Foundation
import Kernels

/// What makes a run that run: everything that its result depends on, but for the device. A checkpoint or a finished
/// record belongs to a run when their identities are equal.
public struct RunIdentity: Sendable, Equatable {
  /// JSON text by name.
  let values: [String: String]

  /// The members of a value that encodes as a JSON object. Throws `internal` when it does not.
  public init(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let object = try JSONSerialization.jsonObject(with: encoder.encode(value))
    guard let members = object as? [String: Any] else {
      throw PBEError(.internal, "a run's settings must be an object")
    }
    values = try members.mapValues { member in
      let data = try JSONSerialization.data(
        withJSONObject: member, options: [.sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes])
      return String(decoding: data, as: UTF8.self)
    }
  }

  /// The identity that ``text`` gave. Throws `badData`.
  init(text: String, place: String) throws {
    do {
      values = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
    } catch {
      throw PBEError(
        .badData, "the run's settings can't be read", at: place, remedy: "delete the file to start over")
    }
  }

  /// All of it as one text, equal for equal identities.
  var text: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A dictionary of strings can always be encoded.
    return (try? encoder.encode(values)).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  /// The CRC-32 of it, to tell in a record whose it is.
  public var checksum: String { Checksum.hex(of: Array(text.utf8)) }

  /// In words, the first thing in which `other` differs; `nil` for equal identities.
  public func difference(from other: RunIdentity) -> String? {
    for name in Set(values.keys).union(other.values.keys).sorted() {
      let (mine, theirs) = (values[name], other.values[name])
      if mine != theirs { return "\(name) is \(mine ?? "missing"), not \(theirs ?? "missing")".printable() }
    }
    return nil
  }
}
