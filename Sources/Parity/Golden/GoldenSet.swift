import CKernels
import Foundation
import Kernels

/// An attribute of a golden case.
public enum GoldenAttribute: Sendable, Equatable, Decodable {
  case number(Double), string(String), flag(Bool), numbers([Double]), strings([String])

  /// Decodes whichever it is.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let flag = try? container.decode(Bool.self) {
      self = .flag(flag)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let string = try? container.decode(String.self) {
      self = .string(string)
    } else if let numbers = try? container.decode([Double].self) {
      self = .numbers(numbers)
    } else {
      self = .strings(try container.decode([String].self))
    }
  }
}

/// One case of a golden file: small inputs, and what PyTorch computes from them in float64.
public struct GoldenCase: Sendable {
  /// The case's name.
  public let name: String
  /// Its attributes.
  public let attributes: [String: GoldenAttribute]
  /// Its tensors.
  public let tensors: [String: GoldenTensor]

  /// A number among the attributes.
  public func number(_ key: String) -> Double? {
    if case .number(let value)? = attributes[key] { value } else { nil }
  }

  /// A number among the attributes as an integer.
  public func integer(_ key: String) -> Int? { number(key).map { Int($0) } }

  /// A flag among the attributes.
  public func flag(_ key: String) -> Bool? {
    if case .flag(let value)? = attributes[key] { value } else { nil }
  }

  /// A string among the attributes.
  public func string(_ key: String) -> String? {
    if case .string(let value)? = attributes[key] { value } else { nil }
  }

  /// A tensor. Throws `badData` when there is none of that name.
  public func tensor(_ key: String) throws -> GoldenTensor {
    guard let tensor = tensors[key] else {
      throw PBEError(.badData, "the golden case lacks \(key)", at: name)
    }
    return tensor
  }
}

/// The cases of one golden file.
public struct GoldenSet: Sendable {
  /// The file's name without its extension.
  public let name: String
  /// The cases, in the order of the list.
  public let cases: [GoldenCase]

  /// Reads a golden file and the list of its cases. Throws `badData` when either is not as expected.
  public init(name: String, safetensors: Data, cases list: Data) throws {
    let tensors = try GoldenReader.read(safetensors, name: name)
    guard let lists = try? JSONDecoder().decode([String: [[String: GoldenAttribute]]].self, from: list),
      let entries = lists[name]
    else { throw PBEError(.badData, "the list of golden cases can't be read", at: name) }
    self.name = name
    cases = entries.compactMap { entry in
      guard case .string(let name)? = entry["case"] else { return nil }
      let prefix = name + "."
      let own = tensors.filter { $0.key.hasPrefix(prefix) }
      return GoldenCase(
        name: name, attributes: entry,
        tensors: Dictionary(
          uniqueKeysWithValues: own.map { (String($0.key.dropFirst(prefix.count)), $0.value) }))
    }
  }

  /// Reads `name.safetensors` and `cases.json` of a directory. Throws `missingInput` when they can't be read,
  /// `badData` when they are not as expected.
  public init(directory: URL, name: String) throws {
    func contents(_ file: String) throws -> Data {
      let url = directory.appendingPathComponent(file)
      guard let data = try? Data(contentsOf: url) else {
        throw PBEError(.missingInput, "the golden file can't be read", at: url.path)
      }
      return data
    }
    try self.init(
      name: name, safetensors: try contents("\(name).safetensors"), cases: try contents("cases.json"))
  }

  /// The case of a name. Throws `badData` when there is none.
  public func golden(_ name: String) throws -> GoldenCase {
    guard let found = cases.first(where: { $0.name == name }) else {
      throw PBEError(.badData, "there is no golden case \(name)", at: self.name)
    }
    return found
  }

  /// The golden set inside the program. Throws `badData` when the build embedded something else.
  public static func embedded() throws -> GoldenSet {
    try GoldenSet(
      name: "operators", safetensors: Data(bytes: pbe_golden_tensors(), count: pbe_golden_tensors_length()),
      cases: Data(bytes: pbe_golden_cases(), count: pbe_golden_cases_length()))
  }

  /// The embedded set as operator cases; a single case that fails when it can't be read.
  static let embeddedCases: [OperatorCase] = {
    do {
      return try GoldenCases.cases(of: embedded(), prefix: "golden")
    } catch {
      return [OperatorCase("golden/the embedded set can't be read") { _ in }]
    }
  }()
}
