import Kernels
import Yams

/// A YAML value with its place in the file, and readers that name both in errors.
struct SweepYAML {
  private let node: Yams.Node
  private let place: String
  /// What the value is, for messages: `defaults, width`.
  let name: String

  /// Reads a file. Throws `missingInput`, or `badData` with the line.
  static func load(_ path: String) throws -> SweepYAML {
    let bytes = try InputFile.read(path, limit: 1 << 20, remedy: "name a YAML file; see docs/sweeps.md")
    // As keys of mappings, aliases of aliases take a time that doubles with each.
    guard aliases(in: bytes) <= aliasLimit else {
      throw PBEError(
        .badData, "the file has more than \(aliasLimit) aliases (*NAME)", at: path,
        remedy: "write out what they stand for, or use defaults and axes")
    }
    do {
      guard let text = String(validating: bytes, as: UTF8.self), let node = try Yams.compose(yaml: text)
      else {
        throw PBEError(.badData, "the file is empty, or not UTF-8", at: path, remedy: "see docs/sweeps.md")
      }
      return SweepYAML(node: node, place: path, name: "the file")
    } catch let error as YamlError {
      throw PBEError(.badData, describe(error), at: path, remedy: "correct the YAML")
    }
  }

  private static let aliasLimit = 16

  /// How many aliases a text has at most: asterisks where a value may begin, with a name behind them.
  private static func aliases(in text: [UInt8]) -> Int {
    let before = Set(" \t\r\n,[{".utf8)
    let after = Set(" \t\r\n,]}*".utf8)
    return text.indices.count { at in
      text[at] == UInt8(ascii: "*") && (at == 0 || before.contains(text[at - 1]))
        && at + 1 < text.count && !after.contains(text[at + 1])
    }
  }

  private static func describe(_ error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "line \(mark.line): \(problem)"
    case .duplicatedKeysInMapping(let keys, let context):
      "line \(context.mark.line): a mapping has \(keys.sorted().joined(separator: ", ").printable()) twice"
    default: "this is no YAML: \("\(error)".printable())"
    }
  }

  func failure(_ what: String) -> PBEError {
    let line = node.mark.map { "line \($0.line): " } ?? ""
    return PBEError(
      .badData, "\(line)\(name.printable()) \(what)", at: place, remedy: "correct it; see docs/sweeps.md")
  }

  private func child(_ node: Yams.Node, _ name: String) -> SweepYAML {
    SweepYAML(node: node, place: place, name: self.name == "the file" ? name : "\(self.name), \(name)")
  }

  /// The members of a mapping in their order. Throws `badData` for anything else.
  func members() throws -> [(key: String, value: SweepYAML)] {
    guard case .mapping(let mapping) = node else { throw failure("should be a mapping, NAME: VALUE") }
    return try mapping.map { key, value in
      guard let text = key.scalar?.string else { throw failure("has a key that is no text") }
      return (text, child(value, text))
    }
  }

  /// The elements of a list, or the value itself as the only one.
  var elements: [SweepYAML] {
    guard case .sequence(let sequence) = node else { return [self] }
    return sequence.map { child($0, "each element") }
  }

  /// Whether it is a list.
  var isList: Bool { node.sequence != nil }

  /// Whether it is a mapping.
  var isMapping: Bool { node.mapping != nil }

  /// A text, a number or a truth value, as written. Throws `badData` for anything else.
  func text() throws -> String {
    guard let scalar = node.scalar else { throw failure("should be one text or number") }
    return scalar.string
  }

  /// The value of a command's option; `nil` for null, which takes a default away.
  func option() throws -> SweepOption? {
    guard let scalar = node.scalar else {
      return .text(try elements.map { try $0.text() }.joined(separator: ","))
    }
    if scalar.style == .plain {
      switch scalar.string {
      case "true": return .flag(true)
      case "false": return .flag(false)
      case "", "~", "null": return nil
      default: break
      }
    }
    return .text(scalar.string)
  }
}

/// The value that a sweep gives to an option of a command.
public enum SweepOption: Sendable, Equatable, Codable {
  /// Given, or left out.
  case flag(Bool)
  /// As it stands on the command line, but for variables.
  case text(String)
  /// Several: an option that is repeated, or `arguments`, without an option in front.
  case list([String])

  public init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if let flag = try? value.decode(Bool.self) {
      self = .flag(flag)
    } else if let texts = try? value.decode([String].self) {
      self = .list(texts)
    } else {
      self = .text(try value.decode(String.self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var value = encoder.singleValueContainer()
    switch self {
    case .flag(let flag): try value.encode(flag)
    case .text(let text): try value.encode(text)
    case .list(let texts): try value.encode(texts)
    }
  }
}
