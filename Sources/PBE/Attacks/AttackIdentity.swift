import Foundation
import Kernels

extension AttackFile {
  /// The attack as ``encoded(in:)`` gives it, with the CRC-32 of each file instead of its path: equal for attacks that do the
  /// same, wherever their files lie. Throws `missingInput` when one of them can't be read.
  public func identity() throws -> String {
    let text = try encoded()
    var object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
    for (key, value) in object {
      guard let path = value as? String, path.hasPrefix("/") else { continue }
      let bytes = try InputFile.read(path, limit: 1 << 30, remedy: "the attack needs this file")
      object[key] = "file of CRC-32 \(Checksum.hex(of: bytes))"
    }
    let data = try JSONSerialization.data(
      withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
    return String(decoding: data, as: UTF8.self)
  }
}
