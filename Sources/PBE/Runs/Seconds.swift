import Foundation

extension Double {
  /// Seconds as people read them: `1h05m`, `3m20s`, `12s`, `0.4s`.
  public var asDuration: String {
    guard isFinite, (0..<1e12).contains(self) else { return "unknown" }
    if self < 10 { return String(format: "%.1fs", self) }
    let total = Int(rounded())
    if total >= 3600 { return "\(total / 3600)h\(String(format: "%02d", total % 3600 / 60))m" }
    if total >= 60 { return "\(total / 60)m\(String(format: "%02d", total % 60))s" }
    return "\(total)s"
  }
}
