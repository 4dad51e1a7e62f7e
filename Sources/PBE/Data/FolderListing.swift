import Foundation
import Kernels

/// What lies in a folder.
public enum FolderListing {
  /// The names in a folder by the order of their bytes, which is the same everywhere; without hidden ones. Throws
  /// `missingInput` when it can't be read, and `badData` for a name that is not UTF-8: Foundation would change it, and
  /// nothing would be found under the changed one.
  public static func names(in folder: String) throws -> [String] {
    guard let stream = opendir(folder) else {
      let isThere = errno != ENOENT && errno != ENOTDIR
      throw PBEError(
        .missingInput, isThere ? "the folder can't be read" : "there is no such folder", at: folder,
        remedy: isThere ? "check its permissions" : "check the path")
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { $0.prefix { $0 != 0 }.map { $0 } }
      if bytes.first == UInt8(ascii: ".") { continue }
      guard let name = String(validating: bytes, as: UTF8.self) else {
        throw PBEError(
          .badData,
          "the name of \"\(String(decoding: bytes, as: UTF8.self).printable())\" in it is not UTF-8",
          at: folder, remedy: "rename it")
      }
      names.append(name)
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }
}
