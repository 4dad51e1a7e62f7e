import Foundation
import Kernels

/// A model as a file holds it.
public struct LoadedCheckpoint: Sendable, Equatable {
  /// The tensors by their PyTorch names, without `module.` in front.
  public let state: StateDictionary
  /// The strings that a safetensors file carries; empty for other formats.
  public let metadata: [String: String]
  /// The file's format, for people: `safetensors`, `PyTorch`, or `PyTorch before 1.6`.
  public let format: String
}

/// Reads models from files of any supported format.
public enum Checkpoint {
  /// The largest file read into memory, in bytes; what doesn't fit there would end the process.
  static let sizeLimit = min(1 << 34, Int(clamping: ProcessInfo.processInfo.physicalMemory))

  /// Loads the model in the file at `path`; the format is told by the contents, not by the name.
  ///
  /// PyTorch's formats are pickles, which in Python can run any program. Here they are read as data, and a
  /// file that refers to names beyond a short list is refused. Throws `PBEError`: `.missingInput` when the
  /// file is missing or can't be read, `.badData` when its contents are not a model or are damaged.
  public static func load(_ path: String) throws -> LoadedCheckpoint {
    let remedy = "check the path and the permissions; name a .safetensors file or a PyTorch checkpoint"
    if InputFile.isFolder(path) {
      throw PBEError(.missingInput, "this is a directory, not a file", at: path, remedy: remedy)
    }
    // Before opening: to open a pipe that nobody writes to would wait for ever.
    let size = try InputFile.size(path, remedy: remedy)
    // Nor is a film or a disk image read whole to be refused.
    let start = try InputFile.start(of: path, count: startLength, remedy: remedy)
    if !start.isEmpty, format(of: start) == nil { throw unknown(start, path) }
    let bytes = try InputFile.read(path, limit: sizeLimit, remedy: "check that this is the file you meant")
    guard !bytes.isEmpty, bytes.count == size else {
      throw PBEError(
        .badData, size == 0 ? "the file is empty (0 bytes)" : "the file changed while it was read", at: path,
        remedy: "wait until the file is complete, or copy or download it again")
    }
    return try read(bytes, place: path)
  }

  /// Reads a model from the contents of a file; `place` names it in errors.
  static func read(_ bytes: [UInt8], place: String) throws -> LoadedCheckpoint {
    let (state, metadata, format) = try contents(bytes, place)
    // What pbe-gpu wrote has its network's names.
    return LoadedCheckpoint(
      state: metadata["architecture"] == nil ? state.removingCommonPrefix("module.") : state,
      metadata: metadata, format: format)
  }

  private static func contents(
    _ bytes: [UInt8], _ place: String
  ) throws -> (state: StateDictionary, metadata: [String: String], format: String) {
    switch format(of: bytes) {
    case .archive: return (try TorchCheckpoint.readArchive(bytes, place: place), [:], Format.archive.rawValue)
    case .pickles:
      return (try TorchCheckpoint.readOldFormat(bytes, place: place), [:], Format.pickles.rawValue)
    case .safetensors:
      let (state, metadata) = try Safetensors.read(bytes, place: place)
      return (state, metadata, Format.safetensors.rawValue)
    case nil: throw unknown(bytes, place)
    }
  }

  private enum Format: String {
    case archive = "PyTorch"
    case pickles = "PyTorch before 1.6"
    case safetensors
  }

  /// As many first bytes as ``format(of:)`` and ``FileKind`` look at.
  private static let startLength = 512

  private static func format(of start: [UInt8]) -> Format? {
    if start.starts(with: [0x50, 0x4b, 3, 4]) { return .archive }
    if TorchCheckpoint.matchesOldFormat(start) { return .pickles }
    return Safetensors.matches(start) ? .safetensors : nil
  }

  private static func unknown(_ start: [UInt8], _ place: String) -> PBEError {
    PBEError(
      .badData, "this is no model in a known format; \(FileKind.describe(start))", at: place,
      remedy: "name a .safetensors file or a checkpoint that torch.save wrote")
  }
}
