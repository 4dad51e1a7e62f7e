import Foundation
import Kernels

/// Makes the contact sheets of an erasing: first what the infected model makes of triggers and of adversarial examples, at
/// the end what the purified one does, and the training images that the two agree least and most about.
public struct SheetMaking {
  /// Images in a row.
  static let images = 10
  /// The names of the PNG files that ``write(purified:agreement:training:to:)`` may leave.
  public static let pictures = [testPicture] + ends.map(trainingPicture)
  private static let testPicture = "sheet-test.png"
  private static let ends = ["least", "most"]
  private static func trainingPicture(_ end: String) -> String { "sheet-\(end)-agreeing.png" }

  private var sheet: ContactSheet
  private var description: RunSheets.Sheet
  private let classes: [String]?

  /// Looks at a few test images, chosen by `seed`, while the model is the infected one still.
  ///
  /// - Parameters:
  ///   - pgd: how adversarial examples are made; they are clipped to valid pixels.
  ///   - attack: `nil` where nobody knows it: then there are no triggered images.
  /// - Throws: `badData` when the trigger doesn't fit the images, or the model's answers are not finite.
  public init(
    infected weights: Weights, test: LabeledImages, attack: AttackFile?, pgd: PGD, seed: UInt64
  ) throws {
    let images = try test.limited(to: Self.images, seed: seed)
    let size = String(format: "%g", Double((pgd.epsilon * 255 * 100).rounded() / 100))
    sheet = try ContactSheet(images, attack, on: weights.backend)
    var attacking = pgd
    attacking.clip = true
    let probe = try NetworkProbe(weights, batch: images.count)
    let clean = sheet.rows.first?.pixels ?? []
    sheet.add(
      "adversarial, \(size)/255", try probe.adversarial(clean, labels: images.labels, attack: attacking),
      change: "change by PGD, x10")
    classes = test.classNames
    description = RunSheets.Sheet(
      file: Self.testPicture, title: "Test images, and what becomes of them", rows: sheet.names,
      labels: images.labels.map(Int.init), answers: [])
    try addAnswers(of: probe, "infected")
  }

  private mutating func addAnswers(of probe: NetworkProbe, _ model: String) throws {
    for row in sheet.rows where !row.isChange {
      let labels = try probe.answers(to: row.pixels).labels.map(Int.init)
      description.answers?.append(RunSheets.Answers(name: "\(model): \(row.name)", labels: labels))
    }
  }

  /// Writes `sheets.json` and the PNG files that it names to a folder.
  ///
  /// - Parameters:
  ///   - weights: the purified model.
  ///   - agreement: of each training image; none for methods that don't look at the training set.
  ///   - training: the training set with its triggers.
  /// - Throws: as ``AtomicFile`` does.
  public mutating func write(
    purified weights: Weights, agreement: [Float], training: () throws -> DeviceImages, to folder: String
  ) throws {
    try addAnswers(of: NetworkProbe(weights, batch: sheet.shape.n), "purified")
    try save(sheet, description.file, in: folder)
    var record = RunSheets(classes: classes, sheets: [description])
    if !agreement.isEmpty {
      let data = try training()
      let order = agreement.indices.sorted { (agreement[$0], $0) < (agreement[$1], $1) }
      let chosen = [Array(order.prefix(Self.images)), order.suffix(Self.images).reversed()]
      for (end, indices) in zip(Self.ends, chosen) {
        let file = Self.trainingPicture(end)
        try save(ContactSheet(data, indices, name: "training images"), file, in: folder)
        record.sheets.append(
          RunSheets.Sheet(
            file: file, title: "The training images that infected and purified model agree \(end) about",
            rows: ["training images"], images: indices))
      }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try AtomicFile.write(encoder.encode(record), to: "\(folder)/\(RunSheets.record)")
  }

  private func save(_ sheet: ContactSheet, _ name: String, in folder: String) throws {
    try AtomicFile.write(sheet.picture(scale: 2, isTransparent: true).png(), to: "\(folder)/\(name)")
  }
}
