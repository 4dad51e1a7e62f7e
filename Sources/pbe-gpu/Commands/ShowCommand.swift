import ArgumentParser
import Foundation
import Kernels
import PBE

/// Shows what an attack does to images.
struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Write a contact sheet of an attack: images clean, triggered, and the change.",
    discussion: """
      Rows: clean test images, the same triggered, the change ten times as strong around grey; for attacks with cross \
      images (wanet, dynamic) those and their change, too.
      """)

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Attack") var attack: AttackOptions
  @OptionGroup var common: CommonOptions

  @Option(help: "How many images, chosen by --seed.")
  var images = 8

  @Option(help: "Pixels per pixel.")
  var scale = 4

  @Option(help: "The PNG file to write.")
  var output: String

  func validate() throws {
    guard (1...256).contains(images), (1...64).contains(scale) else {
      throw ValidationError("--images must be 1 to 256, and --scale 1 to 64")
    }
    try data.checkTestOnly()
    guard attack.poisonRate == nil, attack.target == nil, attack.mode == nil else {
      throw ValidationError(
        "--target, --mode and --poison-rate are for training sets; show puts the trigger on every image")
    }
  }

  private struct Record: Encodable {
    var output: String, attack: String, dataset: String, rows: [String], images: Int
  }

  func run() throws {
    let (backend, _) = try common.open()
    let file = try attack.loadRequired(seed: common.seed)
    let test = try data.test()
    try file.check(classes: test.classes)
    let sheet = try ContactSheet(test.limited(to: images, seed: common.seed), file, on: backend)
    try AtomicFile.write(Data(sheet.picture(scale: scale).png()), to: output)
    if common.json {
      try Output.json(
        Record(
          output: output, attack: type(of: file.attack).name, dataset: data.dataset.rawValue,
          rows: sheet.names, images: min(images, test.count)))
    } else {
      try Output.line("\(output): rows from the top: \(sheet.names.joined(separator: "; "))")
    }
  }
}
