import Foundation

public enum RealPath {
  /// The path of what is there, without links, `.` and `..`; `nil` where nothing is.
  public static func existing(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  /// A path without the links on the way to its last component, which may be one or may not exist. As for the system, `..`
  /// behind a link leads out of what the link names. Where the folder does not exist, `..` undoes the name before it.
  static func resolvingFolder(of path: String) -> String {
    // To C, a path ends at its first NUL: without it the path would name another file, and ``InputFile`` could not refuse it.
    if path.contains("\0") { return path }
    // Of a relative path of one character NSString can't take the last component.
    let text = (path.hasPrefix("/") ? path : "./\(path)") as NSString
    let (folder, name) = (text.deletingLastPathComponent, text.lastPathComponent)
    guard !["", "/", ".", ".."].contains(name), let parent = existing(folder) else {
      return URL(fileURLWithPath: path).standardizedFileURL.path
    }
    return parent == "/" ? "/\(name)" : "\(parent)/\(name)"
  }
}
