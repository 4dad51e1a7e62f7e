import Kernels

extension String {
  /// The text as it may go to a terminal: control characters made visible, at most `limit` characters.
  ///
  /// Names inside files are an attacker's to choose, and escape sequences could rewrite what the user sees.
  public func printable(limit: Int = 100) -> String {
    let shown = String(String.UnicodeScalarView(unicodeScalars.prefix(limit))).escaping { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: true
      default: false
      }
    }
    return unicodeScalars.count > limit ? shown + "..." : shown
  }
}
