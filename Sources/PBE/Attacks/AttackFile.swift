import Foundation
import Kernels

/// An attack as a JSON file describes it (docs/attacks.md): which attack, which labels, which training images.
public struct AttackFile: Sendable {
  /// The trigger's parameters.
  public var attack: any Attack
  /// Which label a triggered image gets.
  public var mode: AttackMode
  /// The target label of an all-to-one attack.
  public var target: Int
  /// The share of the training set that is poisoned.
  public var poisonRate: Double
  /// The seed that chooses the poisoned images, and the key of all else that the attack draws.
  public var poisonSeed: UInt64
  /// What `poison` did to the training set beside the file: its images carry their triggers already.
  public var record: PoisonRecord?
  /// The file that it was read from; `nil` for one that was named.
  public private(set) var path: String?

  /// Creates an attack.
  public init(
    _ attack: any Attack, mode: AttackMode = .allToOne, target: Int, poisonRate: Double = 0.1,
    poisonSeed: UInt64 = 0
  ) {
    self.attack = attack
    self.mode = mode
    self.target = target
    self.poisonRate = poisonRate
    self.poisonSeed = poisonSeed
  }

  private struct Header: Codable {
    var attack: String
    var mode: AttackMode?
    var target: Int?
    var poison_rate: Double?
    var poison_seed: UInt64?
    var poisoned_set: PoisonRecord?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case attack, mode, target, poison_rate, poison_seed, poisoned_set
    }
  }

  /// Reads the file. `parameters` replace or add parameters of the attack: values are JSON, or else strings. Throws
  /// `missingInput` when the file can't be read, `badData` naming the key that is wrong, or those that may be, `usage` for a
  /// parameter that the attack doesn't have.
  public static func load(_ path: String, parameters: [String: String] = [:]) throws -> AttackFile {
    let data = Data(
      try InputFile.read(
        path, limit: PoisonRecord.largestFile, remedy: "name a JSON file; see docs/attacks.md"))
    var file = try decode(data, parameters, at: path)
    file.path = path
    file.attack = file.attack.resolvingPaths(
      from: URL(fileURLWithPath: path).deletingLastPathComponent().path)
    return file
  }

  /// An attack by its name, with target 0 and, but for `parameters`, its defaults. Throws `badData` as ``load``.
  public static func named(_ name: String, parameters: [String: String] = [:], seed: UInt64 = 0) throws
    -> AttackFile
  {
    let header = Header(attack: name, target: 0, poison_seed: seed)
    return try decode(JSONEncoder().encode(header), parameters, at: "attack \(name)")
  }

  private static func decode(_ data: Data, _ parameters: [String: String], at place: String) throws
    -> AttackFile
  {
    func decode<T: Decodable>(_ type: T.Type, _ data: Data, _ keys: Set<String>) throws -> T {
      do { return try JSONDecoder().decode(type, from: data) } catch {
        throw PBEError(
          .badData, "the attack is described wrongly: \(explain(error, keys, in: data))", at: place,
          remedy: remedy)
      }
    }
    // A key that is there twice would mean either.
    let json = try StrictJSON.parse(Array(data)[...], place: place, remedy: remedy)
    let header = try decode(Header.self, data, Set(Header.CodingKeys.allCases.map(\.rawValue)))
    guard let type = Attacks.known.first(where: { $0.name == header.attack }) else {
      throw PBEError(
        .badData, "there is no attack \"\(header.attack.printable())\"", at: place,
        remedy: "known are \(Attacks.names.joined(separator: ", "))")
    }
    // A misspelt key would silently leave its default in place.
    let known = type.keys.union(Header.CodingKeys.allCases.map(\.rawValue))
    func check(
      _ given: some Sequence<String>, _ known: Set<String>, _ kind: PBEError.Kind, at place: String
    ) throws {
      guard let wrong = given.filter({ !known.contains($0) }).min() else { return }
      throw PBEError(
        kind, "the attack \(type.name) has no parameter \"\(wrong.printable())\"", at: place,
        remedy: "known are \(known.sorted().joined(separator: ", "))")
    }
    if case .object(let members) = json { try check(members.map(\.name), known, .badData, at: place) }
    try check(parameters.keys, type.keys, .usage, at: "--parameter")
    let attack = try decode(type, try merging(parameters, into: data), type.keys)
    let rate = header.poison_rate ?? 0.1
    guard (0...1).contains(rate) else {
      throw PBEError(.badData, "poison_rate \(rate) is not between 0 and 1", at: place, remedy: "correct it")
    }
    guard header.mode != .allToAll || header.target == nil else {
      throw PBEError(.badData, "an all-to-all attack has no target", at: place, remedy: "take \"target\" out")
    }
    guard let target = header.target ?? (header.mode == .allToAll ? 0 : nil), target >= 0 else {
      throw PBEError(
        .badData, "an all-to-one attack needs a target label of at least 0", at: place,
        remedy: "add \"target\"")
    }
    var file = AttackFile(
      attack, mode: header.mode ?? .allToOne, target: target, poisonRate: rate,
      poisonSeed: header.poison_seed ?? 0)
    file.record = header.poisoned_set
    return file
  }

  private static func merging(_ parameters: [String: String], into data: Data) throws -> Data {
    if parameters.isEmpty { return data }
    var object = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    for (key, text) in parameters {
      object[key] =
        (try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)) ?? text
    }
    return try JSONSerialization.data(withJSONObject: object)
  }

  private static let remedy = "correct it; see docs/attacks.md"

  private static func explain(_ error: any Error, _ keys: Set<String>, in data: Data) -> String {
    func path(_ context: DecodingError.Context) -> String {
      context.codingPath.map(\.stringValue).joined(separator: ".")
    }
    switch error {
    case DecodingError.keyNotFound(let key, _): return "\"\(key.stringValue)\" is missing"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      return context.codingPath.isEmpty ? "it is not an object" : "\"\(path(context))\" has the wrong type"
    case DecodingError.dataCorrupted(let context):
      return context.codingPath.isEmpty
        ? "a number is out of range or not whole\(numbers(of: keys, in: data))"
        : "\"\(path(context))\" has a wrong value"
    default: return "it can't be read"
    }
  }

  /// Those of `keys` that have numbers, for a message: which number it is, Foundation doesn't tell.
  private static func numbers(of keys: Set<String>, in data: Data) -> String {
    func hasNumber(_ value: StrictJSON) -> Bool {
      switch value {
      case .integer, .otherNumber: true
      case .array(let elements): elements.contains(where: hasNumber)
      case .object(let members): members.contains { hasNumber($0.value) }
      case .null, .bool, .string: false
      }
    }
    guard case .object(let members)? = try? StrictJSON.parse(Array(data)[...], place: "") else { return "" }
    let names = members.filter { keys.contains($0.name) && hasNumber($0.value) }.map {
      "\"\($0.name.printable())\""
    }
    return names.isEmpty ? "" : ": of \(names.joined(separator: ", "))"
  }

  /// The attack as JSON with sorted keys, without ``record``. Paths are made absolute, so that the file may lie anywhere;
  /// but those of files in `folder` relative to it, so that it may be moved together with them.
  public func encoded(in folder: String? = nil) throws -> String {
    let prefix = folder.map { RealPath.resolvingFolder(of: "\($0)/x").dropLast() }
    return try encoded(
      resolved.changingFiles { _, path in
        let real = RealPath.resolvingFolder(of: path)
        if let prefix, real.hasPrefix(prefix) { return String(real.dropFirst(prefix.count)) }
        return path
      })
  }

  /// The same with the CRC-32 of each file instead of its path: equal for attacks that do the same, wherever their files lie.
  /// Throws `missingInput` when one of them can't be read.
  public func identity() throws -> String {
    try encoded(
      resolved.changingFiles { _, path in
        let remedy = "put the attack's file back"
        return
          "CRC-32 \(Checksum.hex(of: try InputFile.read(path, limit: Checkpoint.sizeLimit, remedy: remedy)))"
      })
  }

  /// The attack with absolute paths.
  private var resolved: any Attack { attack.resolvingPaths(from: FileManager.default.currentDirectoryPath) }

  /// The attack as JSON, its files named as `attack` has them.
  private func encoded(_ attack: any Attack) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let header = Header(
      attack: type(of: attack).name, mode: mode, target: mode == .allToOne ? target : nil,
      poison_rate: poisonRate, poison_seed: poisonSeed)
    func object(_ value: some Encodable) throws -> [String: Any] {
      try JSONSerialization.jsonObject(with: encoder.encode(value)) as? [String: Any] ?? [:]
    }
    let merged = try object(attack).merging(object(header)) { $1 }
    let data = try JSONSerialization.data(
      withJSONObject: merged, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  /// The same attack with copies of its files in `folder`, each named by its key: `pattern.png`. So the folder may be
  /// moved, and the originals may go. Throws as ``InputFile`` and ``OutputFolder`` do.
  public func copyingFiles(to folder: OutputFolder) throws -> AttackFile {
    var copy = self
    copy.attack = try attack.changingFiles { key, path in
      let suffix = (path as NSString).pathExtension
      let name = suffix.isEmpty ? key : "\(key).\(suffix)"
      try folder.write(
        InputFile.read(path, limit: Checkpoint.sizeLimit, remedy: "put the attack's file back"), to: name)
      return RealPath.resolvingFolder(of: "\(folder.path)/\(name)")
    }
    return copy
  }

  /// The label that the attacker wants for a triggered image of class `label`.
  public func targetLabel(of label: Int32, classes: Int) -> Int32 {
    mode == .allToOne ? Int32(target) : (label + 1) % Int32(classes)
  }

  /// Throws `badData` when the target is not one of the classes.
  public func check(classes: Int) throws {
    if mode == .allToOne, target >= classes {
      throw PBEError(
        .badData, "target label \(target) is out of range: the data set has classes 0 to \(classes - 1)",
        at: place("attack, target"), remedy: "choose a target below \(classes)")
    }
  }

  /// The place of an error in the attack, with the file's name where it has one.
  func place(_ place: String) -> String { path.map { "\($0): \(place)" } ?? place }

  /// The trigger for images of a data set, on a device. Throws `badData` when it doesn't fit them.
  public func makeTrigger(for images: LabeledImages, on backend: any Backend) throws -> any Trigger {
    do {
      return try attack.makeTrigger(
        image: Shape(1, images.channels, images.height, images.width), seed: poisonSeed, on: backend)
    } catch let error as PBEError where error.place?.hasPrefix("attack \(type(of: attack).name)") == true {
      throw PBEError(error.kind, error.what, at: error.place.map(place), remedy: error.remedy)
    }
  }

  /// Whether an image of class `label` counts for the attack success rate: with one target, its own class does not.
  public func scores(label: Int32) -> Bool { mode == .allToAll || label != Int32(target) }
}
