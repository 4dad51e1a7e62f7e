import ArgumentParser
import Foundation
import Kernels
import PBE

/// Writes a poisoned training set.
struct PoisonCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "poison",
    abstract: "Write a poisoned training set, for other programs and for infect and erase.",
    discussion: """
      Writes the training set with triggers in its pixels and the attacker's labels, the clean test set beside it, and \
      attack.json, which also tells the poisoned images. infect and erase take the folder as --data. Nothing is \
      written before all of it is.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case own, png }

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Attack") var attack: AttackOptions
  @OptionGroup var common: CommonOptions

  @Option(
    help:
      "own: the data set's own files. png: a folder of PNG files per class, and poison.csv; --dataset folder."
  )
  var format = Format.own

  @Option(help: "The folder to write; it must not exist, or be empty.")
  var output: String

  private struct Record: Encodable {
    var dataset: String, source_checksum: String, data_checksum: String?
    var images: Int, poisoned: Int, cross: Int, test_images: Int
    var channels: Int, image_size: Int
    var output: String
  }

  func run() throws {
    try OutputFolder.checkIsFree(output)
    try data.refusePoisoned("give the data set that it was made from")
    let file = try attack.loadRequired(seed: common.seed)
    guard common.seed == 0 || attack.attack?.hasSuffix(".json") != true else {
      throw PBEError(
        .usage, "the file has a seed of its own, which chooses the images (poison_seed)", at: "--seed",
        remedy: "set it in the file, or leave --seed away")
    }
    let (backend, log) = try common.open()
    let (source, test) = (try data.training(), try data.test())
    try file.check(classes: source.classes)
    let poison = try PoisonedSet(source, file)
    let kind = format == .png ? .folder : data.dataset
    let poisoned = try source.poisoned(
      by: poison, trigger: file.makeTrigger(for: source, on: backend), on: backend
    ) { share in
      try Self.progress("poisoning", share)
    }
    let record = try PoisonRecord(poison, source: source, poisoned: poisoned, dataset: kind)
    try OutputFolder.write(to: output) { folder in
      let files = try kind.write(poisoned, split: .train, to: folder) { try Self.progress("writing", $0) }
      try kind.write(test, split: .test, to: folder) { try Self.progress("writing test images", $0) }
      if format == .png {
        try folder.write(Array(PoisonTable.text(files, source.labels, poison).utf8), to: "poison.csv")
      }
      let copied = try file.copyingFiles(to: folder)
      try folder.write(Array(record.encoded(with: copied, in: output).utf8), to: "attack.json")
      try Self.progress("writing", 1)
    }
    Terminal.shared.clear()
    log.info("\(output): \(source.count) training and \(test.count) test images")
    let result = Record(
      dataset: kind.rawValue, source_checksum: record.source_checksum,
      data_checksum: record.data_checksum,
      images: source.count, poisoned: poison.count, cross: poison.crossCount, test_images: test.count,
      channels: poisoned.channels, image_size: poisoned.height, output: output)
    if common.json {
      try Output.json(result)
    } else {
      let cross = result.cross > 0 ? ", \(result.cross) cross images" : ""
      try Output.line(
        "\(result.images) training images, \(result.poisoned) poisoned\(cross): "
          + ShellText.command(["--data", output]) + " " + record.options)
    }
  }

  private static func progress(_ what: String, _ share: Double) throws {
    try Interruption.check("nothing was written; run the command again")
    Terminal.shared.progress(what, share)
  }
}

/// Every training image as CSV: `file,label,true_label,role`.
enum PoisonTable {
  static func text(_ files: [String], _ trueLabels: [Int32], _ poison: PoisonedSet) -> String {
    var text = "file,label,true_label,role\n"
    for (index, file) in files.enumerated() {
      text += "\(file.csvField),\(poison.labels[index]),\(trueLabels[index]),\(poison.roles[index])\n"
    }
    return text
  }
}
