extension String {
  /// The text with some of its scalars written by number: names of files and what is in them are anybody's to choose, and a
  /// terminal obeys control characters.
  public func escaping(
    _ isHidden: (Unicode.Scalar) -> Bool,
    as escaped: (Unicode.Scalar) -> String = { "\\u{\(String($0.value, radix: 16))}" }
  ) -> String {
    guard unicodeScalars.contains(where: isHidden) else { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      text += isHidden(scalar) ? escaped(scalar) : String(scalar)
    }
  }
}
