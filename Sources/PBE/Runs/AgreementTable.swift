import Foundation

/// What PBE learned of each training image, as CSV: `index,label,agreement,kept`. The label is the training set's;
/// low agreement means probably poisoned; `kept` lists the steps (from 0) whose extra set held the image.
public enum AgreementTable {
  /// Writes the table. Throws `cannotCreate` or `inputOutput`.
  public static func write(_ outcome: PurificationOutcome, labels: [Int32], to path: String) throws {
    var text = "index,label,agreement,kept\n"
    for (index, label) in labels.enumerated() {
      let kept = outcome.kept[index].map(String.init).joined(separator: " ")
      text += "\(index),\(label),\(outcome.agreement[index]),\(kept)\n"
    }
    try AtomicFile.write(text, to: path)
  }
}
