import Foundation

enum RealPath {
  /// A path without the links on the way to its last component, which may be one or may not exist. As for the system, `..`
  /// behind a link leads out of what the link names. Where the folder does not exist, `..` undoes the name before it.
  static func resolvingFolder(of path: String) -> String {
    let text = path as NSString
    let (folder, name) = (text.deletingLastPathComponent, text.lastPathComponent)
    guard !["", "/", ".", ".."].contains(name), let real = realpath(folder.isEmpty ? "." : folder, nil) else {
      return URL(fileURLWithPath: path).standardizedFileURL.path
    }
    defer { free(real) }
    let parent = String(cString: real)
    return parent == "/" ? "/\(name)" : "\(parent)/\(name)"
  }
}
