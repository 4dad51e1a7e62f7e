import Foundation
import Kernels

/// What an inspection of a model leaves as `inspection.json` (docs/files.md).
public struct InspectionRecord: Sendable, Codable {
  /// What is known of the attack.
  public struct Attack: Sendable, Codable, Equatable {
    /// Its name.
    public let name: String
    /// Which label a triggered image gets.
    public let mode: AttackMode
    /// The target label of an all-to-one attack.
    public let target: Int?
    /// CRC-32 of its whole description, in which the trigger is, by the contents of its files.
    public let checksum: String?

    /// Takes it from the attack's description. Throws `missingInput` when one of its files can't be read.
    public init(_ file: AttackFile) throws {
      var sum = Checksum()
      sum.update(Array(try file.identity().utf8))
      checksum = sum.hex
      name = type(of: file.attack).name
      mode = file.mode
      target = file.mode == .allToOne ? file.target : nil
    }
  }

  /// One of the models, and where it came from.
  public struct Model: Sendable, Codable {
    /// The file.
    public let path: String
    /// Its CRC-32.
    public let checksum: String
    /// What was found.
    public let findings: ModelFindings

    /// Creates it.
    public init(path: String, checksum: String, findings: ModelFindings) {
      self.path = path
      self.checksum = checksum
      self.findings = findings
    }
  }

  /// The version of the program.
  public var version: String
  /// Where it was computed, and with what products.
  public var device: String, precision: Precision
  /// The data set, and CRC-32 of the test images and labels that images were chosen from.
  public var dataset: String, dataChecksum: String
  /// The classes' names, where known.
  public var classNames: [String]?
  /// The network of the model in question.
  public var architecture: String, width: Int
  /// What was done.
  public var settings: InspectionSettings
  /// How many images were inspected, of how many test images.
  public var images: Int, testImages: Int
  /// What is known of the attack, if anything.
  public var attack: Attack?
  /// The model in question.
  public var model: Model
  /// A model known to be benign, where given.
  public var benign: Model?
  /// The purified model, where given.
  public var purified: Model?
  /// What is made of it without knowing a trigger; missing where there is nothing to compare with.
  public var verdict: Verdict?
  /// The same for the purified model.
  public var purifiedVerdict: Verdict?

  /// Creates the record of an inspection of `test`; the verdicts are still missing.
  public init(
    version: String, device: DeviceDescription, dataset: DatasetKind, test: LabeledImages,
    network: NetworkSpecification, settings: InspectionSettings, images: Int, attack: AttackFile?,
    model: Model, benign: Model? = nil, purified: Model? = nil
  ) throws {
    self.version = version
    self.device = device.identifier
    precision = device.precision
    self.dataset = dataset.rawValue
    dataChecksum = test.checksum
    classNames = test.classNames
    architecture = network.architecture.rawValue
    width = network.width
    self.settings = settings
    self.images = images
    testImages = test.count
    self.attack = try attack.map { try Attack($0) }
    self.model = model
    self.benign = benign
    self.purified = purified
  }

  /// The largest inspection file that is read.
  private static let limit = 1 << 26

  /// Reads a file that ``text()`` made. Throws `missingInput` or `badData`.
  public static func load(_ path: String) throws -> InspectionRecord {
    let remedy = "name a file that pbe-gpu inspect or observe wrote"
    let bytes = try InputFile.read(path, limit: limit, remedy: remedy)
    guard let record = try? AnalysisJSON.decode(InspectionRecord.self, from: bytes), record.isConsistent
    else {
      throw PBEError(.badData, "this is no inspection of this version", at: path, remedy: remedy)
    }
    return record
  }

  /// Whether all matrices are of the same images and classes.
  private var isConsistent: Bool {
    let matrices = [model, benign, purified].compactMap { $0 }.flatMap { $0.findings.budgets.map(\.matrix) }
    guard let classes = matrices.first?.classes, classes > 1 else { return false }
    return matrices.allSatisfy { $0.classes == classes && $0.images == images }
  }
}

/// How the files of this folder are written: sorted keys in snake case.
public enum AnalysisJSON {
  /// A value as JSON text.
  public static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
  }

  static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
    // What Foundation would take for ever over is refused, as everywhere.
    _ = try StrictJSON.parse(bytes[...], place: "")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: Data(bytes))
  }
}
