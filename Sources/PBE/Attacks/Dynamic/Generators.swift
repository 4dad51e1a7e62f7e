import Kernels

/// The two generators of the input-aware attack on a device: what pattern an image gets, and where.
public final class Generators: Sendable {
  /// Their size.
  public struct Size: Hashable, Sendable {
    /// Channels of the first level; each further level has twice as many.
    public var width: Int
    /// How often the image is halved.
    public var levels: Int

    /// The attack's own sizes: smaller for grey images, as in the released code.
    public init(for image: Shape, width: Int? = nil, levels: Int? = nil) {
      self.width = width ?? (image.c == 1 ? 16 : 32)
      self.levels = levels ?? (image.c == 1 ? 2 : 3)
    }
  }

  /// Makes the pattern: (c, h, w) in (0, 1).
  public let pattern: Weights
  /// Makes the mask: (1, h, w) in (0, 1).
  public let mask: Weights
  /// The shape of one image.
  let image: Shape

  /// New generators, all zero. Throws `badData` when the size makes no sense for the images, `device` when there is
  /// not enough memory.
  public init(for image: Shape, size: Size, on backend: any Backend) throws {
    let place = "attack dynamic, width and levels"
    guard (1...6).contains(size.levels), (1...1024 >> (size.levels - 1)).contains(size.width) else {
      throw PBEError(
        .badData, "width \(size.width) with \(size.levels) levels is out of range", at: place,
        remedy: "use 1 to 6 levels and a width that makes at most 1024 channels at the last")
    }
    let factor = 1 << size.levels
    guard image.h % factor == 0, image.w % factor == 0, image.h > 0, image.w > 0 else {
      throw PBEError(
        .badData, "images of \(image.h)x\(image.w) can't be halved \(size.levels) times", at: place,
        remedy: "use fewer levels")
    }
    self.image = Shape(1, image.c, image.h, image.w)
    pattern = try Weights(.pattern(for: image, width: size.width, levels: size.levels), on: backend)
    mask = try Weights(.mask(for: image, width: size.width, levels: size.levels), on: backend)
  }

  /// PyTorch's default initial values.
  public func initialise(seed: UInt64) throws {
    try pattern.initialise(seed: seed, purpose: RandomPurpose.patternGenerator)
    try mask.initialise(seed: seed, purpose: RandomPurpose.maskGenerator)
  }

  private static let parts = ["pattern", "mask"]
  private var networks: [Weights] { [pattern, mask] }

  /// Writes both to one safetensors file, as `pattern.*` and `mask.*`. Throws `badData` when a weight is not finite, and
  /// as ``AtomicFile`` does.
  public func save(to path: String, provenance: [String: String] = [:]) throws {
    var both = StateDictionary()
    for (part, network) in zip(Self.parts, networks) {
      for (name, tensor) in try network.state().entries {
        guard tensor.floats().allSatisfy(\.isFinite) else {
          throw PBEError(
            .badData, "training diverged: \(part).\(name) holds values that are not finite", at: path,
            remedy: "use a smaller --learning-rate")
        }
        both["\(part).\(name)"] = tensor
      }
    }
    try Safetensors.write(both, metadata: provenance, to: path)
  }

  /// Reads both. Throws `missingInput` or `badData` when the file is missing, damaged or of other generators.
  public func load(from path: String) throws {
    let file = try Checkpoint.load(path)
    var states = [StateDictionary](repeating: StateDictionary(), count: Self.parts.count)
    for (name, tensor) in file.state.entries {
      let part = Self.parts.firstIndex { name.hasPrefix("\($0).") }
      guard let part else { throw Self.unsuitable("\(name.printable()) belongs to neither generator", path) }
      states[part][String(name.dropFirst(Self.parts[part].count + 1))] = tensor
    }
    for ((part, network), state) in zip(zip(Self.parts, networks), states) {
      do { try network.load(state, place: path) } catch let error as PBEError where error.kind == .badData {
        throw Self.unsuitable("\(part): \(error.what)", path)
      }
    }
  }

  private static func unsuitable(_ what: String, _ path: String) -> PBEError {
    PBEError(
      .badData, "these are not the attack's generators (\(what))", at: path,
      remedy: "name the file that infect wrote, and its width and levels")
  }
}
