extension String {
  /// Whether it has at most 30 marks in a row ("stream-safe", Unicode Standard Annex 15, D3), as any text that means something
  /// does. Swift compares and hashes texts by canonical equivalence, and takes time with the square of such a run: a file
  /// that unpacks to megabytes of them would never be read to its end.
  var isStreamSafe: Bool {
    if utf8.allSatisfy({ $0 < 0x80 }) { return true }
    var run = 0
    for scalar in unicodeScalars {
      run = scalar.properties.canonicalCombiningClass == .notReordered ? 0 : run + 1
      if run > 30 { return false }
    }
    return true
  }
}
