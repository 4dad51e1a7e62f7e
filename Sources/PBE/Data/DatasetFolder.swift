import Kernels

/// Finds where in a user's folder a data set lies.
enum DatasetFolder {
  /// `folder` joined with `name`; an empty name gives the folder itself.
  static func join(_ folder: String, _ name: String) -> String {
    if name.isEmpty { return folder }
    return folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
  }

  /// The first of `folder`'s `subfolders` ("" is the folder itself) that holds one of `markers`.
  ///
  /// Throws `missingInput` when none does, or the folder itself is missing.
  static func find(
    _ dataset: String, in folder: String, subfolders: [String], markers: [String], remedy: String
  ) throws -> String {
    try InputFile.checkFolder(folder, remedy: remedy)
    for name in subfolders {
      let candidate = join(folder, name)
      if markers.contains(where: { InputFile.exists(join(candidate, $0)) }) { return candidate }
    }
    let searched = subfolders.map { $0.isEmpty ? "." : $0 }.joined(separator: ", ")
    throw PBEError(
      .missingInput, "\(dataset) is not in this folder (looked for \(markers[0]) in \(searched))", at: folder,
      remedy: remedy)
  }
}
