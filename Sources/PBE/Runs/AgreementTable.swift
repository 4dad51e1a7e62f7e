import Foundation

/// What PBE learned of each training image, as CSV: `index,label,agreement,kept,probability,suggested,answer`. The label is
/// the training set's; low agreement means probably poisoned; `kept` lists the steps (from 0) that fine-tuned on the image
/// with its label; `probability` and `suggested` are ``Identification``'s, and `answer` is the purified model's.
public enum AgreementTable {
  /// Writes the table. Throws `cannotCreate` or `inputOutput`.
  public static func write(_ outcome: PurificationOutcome, labels: [Int32], to path: String) throws {
    var text = "index,label,agreement,kept,probability,suggested,answer\n"
    for (index, label) in labels.enumerated() {
      let kept = outcome.kept[index].map(String.init).joined(separator: " ")
      text += "\(index),\(label),\(outcome.agreement[index]),\(kept)"
      if let found = outcome.identification {
        text +=
          ",\(Float(found.probabilities[index])),\(found.suggested[index] ? 1 : 0),\(found.answers[index])"
      }
      text += "\n"
    }
    try AtomicFile.write(text, to: path)
  }
}
