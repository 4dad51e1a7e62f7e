extension String {
  /// The text as it may go to a terminal: control characters made visible, at most `limit` characters.
  ///
  /// Names inside files are an attacker's to choose, and escape sequences could rewrite what the user sees.
  func printable(limit: Int = 100) -> String {
    var result = ""
    for scalar in unicodeScalars.prefix(limit) {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    if unicodeScalars.count > limit { result += "..." }
    return result
  }
}
