import Kernels

/// A model with what is needed to run it: the specification of its network and the weights.
public struct ModelFile: Sendable {
  /// The network.
  public let specification: NetworkSpecification
  /// The weights on the host.
  public let state: StateDictionary
  /// Where it came from: strings of the file's metadata that don't describe the network.
  public let provenance: [String: String]
  /// The format of the file it was read from.
  public let format: String

  /// What the user said about a model whose file does not say it.
  public struct Hints: Sendable {
    /// The architecture, for files that don't record one.
    public var architecture: Architecture?
    /// Channels of the first stage, to check.
    public var width: Int?
    /// The number of classes, to check.
    public var classes: Int?
    /// Height and width of the images.
    public var height: Int, imageWidth: Int
    /// Input normalisation.
    public var mean: [Float], deviation: [Float]

    /// Creates hints.
    public init(
      architecture: Architecture? = nil, width: Int? = nil, classes: Int? = nil, height: Int = 32,
      imageWidth: Int = 32, mean: [Float] = [], deviation: [Float] = []
    ) {
      self.architecture = architecture
      self.width = width
      self.classes = classes
      self.height = height
      self.imageWidth = imageWidth
      self.mean = mean
      self.deviation = deviation
    }
  }

  /// Reads a model in any supported format. Throws `missingInput` or `badData` for the file, `usage` when the
  /// architecture is not known.
  public static func load(_ path: String, hints: Hints) throws -> ModelFile {
    let checkpoint = try Checkpoint.load(path)
    let recorded = try Metadata.read(checkpoint.metadata, place: path)
    if let recorded, let asked = hints.architecture, asked != recorded.architecture {
      throw PBEError(
        .usage, "the file records architecture \(recorded.architecture.rawValue)", at: path,
        remedy: "leave --architecture out")
    }
    if let recorded, !(hints.mean.isEmpty && hints.deviation.isEmpty),
      hints.mean != recorded.mean || hints.deviation != recorded.deviation
    {
      throw PBEError(
        .usage, "the file records its input normalisation, which is another one", at: path,
        remedy: "leave --mean and --std out")
    }
    let fitting = Architecture.allCases.filter {
      NetworkSpecification($0, of: checkpoint.state, height: hints.height, imageWidth: hints.imageWidth)
        != nil
    }
    let known = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
    guard let architecture = recorded?.architecture ?? hints.architecture else {
      throw PBEError(
        .usage, "the file does not say which network it holds", at: path,
        remedy:
          "give --architecture (\((fitting.isEmpty ? known : fitting.map(\.rawValue).joined(separator: ", "))))"
      )
    }
    var specification: NetworkSpecification
    if let recorded {
      specification = recorded
    } else if let read = NetworkSpecification(
      architecture, of: checkpoint.state, height: hints.height, imageWidth: hints.imageWidth)
    {
      specification = read
      specification.mean = hints.mean
      specification.deviation = hints.deviation
    } else {
      let sample = checkpoint.state.names.prefix(3).map { $0.printable() }.joined(separator: ", ")
      throw PBEError(
        .badData, "the weights are not those of \(architecture.rawValue) (the file holds \(sample), ...)",
        at: path,
        remedy: fitting.isEmpty
          ? "known architectures are \(known)"
          : "try --architecture \(fitting.map(\.rawValue).joined(separator: " or "))")
    }
    if let width = hints.width, width != specification.width {
      throw PBEError(
        .usage, "the model has width \(specification.width), not \(width)", at: path,
        remedy: "leave --width out")
    }
    if let classes = hints.classes, classes != specification.classes {
      throw PBEError(
        .usage, "the model has \(specification.classes) classes, but \(classes) were expected", at: path,
        remedy: "check that model and data set belong together")
    }
    return ModelFile(
      specification: specification, state: checkpoint.state,
      provenance: checkpoint.metadata.filter { !Metadata.keys.contains($0.key) }, format: checkpoint.format)
  }

  /// Puts the model on a device. Throws `badData` when the weights don't fit, `device` when memory is short.
  public func weights(on backend: any Backend, place: String) throws -> Weights {
    let graph = try specification.graph()
    try Weights.check(state, fits: graph, place: place)
    let weights = try Weights(graph, on: backend)
    try weights.load(state, place: place)
    return weights
  }

  /// Writes a model as safetensors, which PyTorch's own library reads; `provenance` goes to its metadata. Throws
  /// `badData` when the weights are not finite, and as ``AtomicFile`` does.
  public static func save(
    _ weights: Weights, _ specification: NetworkSpecification, provenance: [String: String], to path: String
  ) throws {
    var metadata = Metadata.write(specification)
    metadata.merge(provenance) { own, _ in own }
    let state = try weights.state()
    if let (name, _) = state.entries.first(where: { !$0.tensor.floats().allSatisfy(\.isFinite) }) {
      throw PBEError(
        .badData, "training diverged: \(name) holds values that are not finite, so the model was not written",
        at: path, remedy: "use a smaller --learning-rate")
    }
    try Safetensors.write(state, metadata: metadata, to: path)
  }

  /// The network's specification as strings.
  private enum Metadata {
    static let keys: Set = ["architecture", "width", "classes", "input", "mean", "std", "format_version"]

    static func write(_ s: NetworkSpecification) -> [String: String] {
      func list(_ numbers: [Float]) -> String { numbers.map { "\($0)" }.joined(separator: ",") }
      return [
        "format_version": "1", "architecture": s.architecture.rawValue, "width": "\(s.width)",
        "classes": "\(s.classes)", "input": "\(s.channels)x\(s.height)x\(s.imageWidth)",
        "mean": list(s.mean), "std": list(s.deviation),
      ]
    }

    /// `nil` when the file records no architecture. Throws `badData` when what it records is no network.
    static func read(_ metadata: [String: String], place: String) throws -> NetworkSpecification? {
      guard let name = metadata["architecture"] else { return nil }
      func failure(_ what: String) -> PBEError {
        PBEError(
          .badData, "the metadata does not describe a network that this version knows (\(what))", at: place,
          remedy: "use the version of pbe-gpu that wrote it, or newer")
      }
      func numbers<Number: LosslessStringConvertible>(
        _ key: String, _ separator: Character, _ type: Number.Type
      ) throws -> [Number] {
        let text = metadata[key] ?? ""
        return try (text.isEmpty ? [] : text.split(separator: separator, omittingEmptySubsequences: false))
          .map { part in
            guard let number = Number(String(part)) else { throw failure("\(key) \(text.printable())") }
            return number
          }
      }
      guard metadata["format_version"].map({ $0 == "1" }) ?? true else {
        throw failure("format_version \((metadata["format_version"] ?? "").printable())")
      }
      guard let architecture = Architecture(rawValue: name) else {
        throw failure("architecture \(name.printable())")
      }
      let input = try numbers("input", "x", Int.self)
      guard let width = metadata["width"].flatMap({ Int($0) }),
        let classes = metadata["classes"].flatMap({ Int($0) }), input.count == 3,
        input.allSatisfy({ (1...4096).contains($0) })
      else { throw failure("width, classes and input are wrong or missing") }
      let result = NetworkSpecification(
        architecture, width: width, classes: classes, channels: input[0], height: input[1],
        imageWidth: input[2], mean: try numbers("mean", ",", Float.self),
        deviation: try numbers("std", ",", Float.self))
      // What would be a wrong option on the command line is damage here.
      do { _ = try result.graph() } catch let error as PBEError { throw failure(error.what) }
      return result
    }
  }
}
