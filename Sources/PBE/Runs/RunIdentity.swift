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
    guard let members = try Self.members(encoder.encode(value)) else {
      throw PBEError(.internal, "a run's settings must be an object")
    }
    values = members
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
    Self.difference("", values, other.values)
  }

  /// The first member in which two objects differ, whose names follow `prefix`: of objects in them, which of their members.
  private static func difference(
    _ prefix: String, _ mine: [String: String], _ theirs: [String: String]
  ) -> String? {
    let names = Set(mine.keys).union(theirs.keys).sorted()
    guard let name = names.first(where: { mine[$0] != theirs[$0] }) else { return nil }
    let path = prefix + name
    let texts = [mine[name], theirs[name]]
    let objects = texts.compactMap { try? members(Data(($0 ?? "").utf8)) }
    if objects.count == 2, let inner = difference("\(path).", objects[0], objects[1]) { return inner }
    let values = texts.map { ($0 ?? "missing").printable() }
    return "\(path.printable()) is \(values[0]), not \(values[1])"
  }

  /// The JSON texts of an object's members; `nil` for anything else. Throws where this is no JSON.
  private static func members(_ json: Data) throws -> [String: String]? {
    let object = try JSONSerialization.jsonObject(with: json, options: .fragmentsAllowed)
    return try (object as? [String: Any])?.mapValues { member in
      let data = try JSONSerialization.data(
        withJSONObject: member, options: [.sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes])
      return String(decoding: data, as: UTF8.self)
    }
  }
}
