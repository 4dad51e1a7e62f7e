import Foundation
import Kernels

/// Makes the contact sheets of an erasing: first what the infected model makes of triggers and of adversarial examples, at
/// the end what the purified one does, and the training images that the two agree least and most about.
public struct SheetMaking {
  /// Images in a row.
  static let images = 10

  private var sheet: ContactSheet
  private var description: RunSheets.Sheet
  private let classes: [String]?

  /// Looks at a few test images, chosen by `seed`, while the model is the infected one still.
  ///
  /// - Parameters:
  ///   - pgd: how adversarial examples are made; they are clipped to valid pixels.
  ///   - attack: `nil` where nobody knows it: then there are no triggered images.
  /// - Throws: `badData` when the trigger doesn't fit the images.
  public init(
    infected weights: Weights, test: LabeledImages, attack: AttackFile?, pgd: PGD, seed: UInt64
  ) throws {
    let images = try test.limited(to: Self.images, seed: seed)
    let size = String(format: "%g", Double((pgd.epsilon * 255 * 100).rounded() / 100))
    sheet = try ContactSheet(images, attack, on: weights.backend)
    sheet.add(
      "adversarial, \(size)/255", try weights.adversarial(images, by: pgd), change: "change by PGD, x10")
    classes = test.classNames
    description = RunSheets.Sheet(
      file: "sheet-test.png", title: "Test images, and what becomes of them", rows: sheet.names,
      labels: images.labels.map(Int.init), answers: [])
    try addAnswers(of: weights, "infected")
  }

  private mutating func addAnswers(of weights: Weights, _ model: String) throws {
    for row in sheet.rows where !row.isChange {
      let labels = try weights.answers(to: row.pixels, sheet.shape)
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
    try addAnswers(of: weights, "purified")
    try save(sheet, description.file, in: folder)
    var record = RunSheets(classes: classes, sheets: [description])
    if !agreement.isEmpty {
      let data = try training()
      let order = agreement.indices.sorted { (agreement[$0], $0) < (agreement[$1], $1) }
      let ends = [
        ("least", Array(order.prefix(Self.images))), ("most", Array(order.suffix(Self.images).reversed())),
      ]
      for (end, indices) in ends {
        let file = "sheet-\(end)-agreeing.png"
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

extension Weights {
  /// Untargeted adversarial examples of a few images, away from their labels: float32 NCHW pixels in [0, 1] (METHOD,
  /// section 1.7). Without a random start.
  func adversarial(_ images: LabeledImages, by pgd: PGD) throws -> [Float] {
    var pgd = pgd
    pgd.clip = true
    let data = try DeviceImages(images, on: backend)
    let shape = data.images.shape
    let pixels = try data.pixels(Array(0..<images.count))
    let origin = try backend.makeTensor(shape, role: .image)
    let example = try backend.makeTensor(shape, role: .image)
    try backend.write(pixels, to: origin)
    try backend.write(pixels, to: example)
    let samples = try backend.makeTensor((0..<images.count).map { Int32($0) }, shape: Shape(images.count, 1))
    let step = try backend.compile([
      Plans.pgdStep(
        self, adversarial: example, origin: origin, labels: data.labels, samples: samples,
        totals: try backend.makeTensor([Float(0), 0], shape: .vector(2)), attack: pgd)
    ])[0]
    for _ in 0..<pgd.steps { try step.run(RunParameters()) }
    return try backend.read(example)
  }

  /// The model's answers to a few images, float32 NCHW pixels of `shape`.
  func answers(to pixels: [Float], _ shape: Shape) throws -> [Int] {
    let images = try backend.makeTensor(shape, role: .image)
    try backend.write(pixels, to: images)
    let logits = try backend.makeTensor(Shape(shape.n, graph.classes))
    try backend.compile([Plans.infer(self, images: images, logits: logits)])[0].run(RunParameters())
    let table = try backend.read(logits)
    return Answers(table, labels: [Int32](repeating: 0, count: shape.n)).classes.map(Int.init)
  }
}
