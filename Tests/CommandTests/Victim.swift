import Foundation
import Kernels
import PBE
import Testing

/// A small data set in MNIST's format, and a model infected on it by the program itself, made once.
struct Victim {
  static let shared = Result { try Victim() }

  let folder: Folder
  let infection: Program.Result

  var model: String { folder["infected/model.safetensors"] }
  var attack: String { folder["infected/attack.json"] }
  /// The options that name the data.
  var data: [String] { ["--data", folder.path, "--dataset", "mnist"] }

  private init() throws {
    folder = try Folder()
    try Self.write(400, "train", to: folder)
    try Self.write(150, "t10k", to: folder)
    infection = try Program.succeed(
      Self.infect(folder) + ["--device", "cpu", "--json", "--output", folder["infected"]])
  }

  /// The arguments of the infection, but for the device and the output.
  static func infect(_ folder: Folder) -> [String] {
    [
      "infect", "--data", folder.path, "--dataset", "mnist", "--attack", "badnet", "--target", "3",
      "--architecture", "mnist-net", "--width", "4", "--epochs", "12", "--batch", "16", "--no-augment",
      "--seed",
      "7",
    ]
  }

  /// The arguments of a short erasing, but for the method and the output.
  var erase: [String] { erase(by: "pbe") }

  /// The same for one of the methods; of two recipes the paper's.
  func erase(by method: String) -> [String] {
    ["erase", model] + data + [
      "--device", "cpu", "--json", "--method", method, "--epochs", "1", "--seed", "3",
    ] + (["pbe", "aft"].contains(method) ? ["--recipe", "paper"] : [])
  }

  /// The arguments of an evaluation.
  var evaluate: [String] { ["evaluate", model] + data + ["--device", "cpu", "--json"] }

  /// Each class is a bright bar in rows of its own, in noise.
  static func write(_ count: Int, _ split: String, to folder: Folder, lastLabel: UInt8? = nil) throws {
    func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
    var stream = PhiloxStream(seed: split == "train" ? 1 : 2, purpose: 0x5445_5354)
    var images = bigEndian(0x803) + bigEndian(count) + bigEndian(28) + bigEndian(28)
    var labels = bigEndian(0x801) + bigEndian(count)
    for index in 0..<count {
      let label = index % 10
      labels.append(UInt8(label))
      for row in 0..<28 {
        let level = row / 2 == label + 1 ? 150 : 10
        for _ in 0..<28 { images.append(UInt8(level + Int(stream.nextUniform() * 90))) }
      }
    }
    if let lastLabel { labels[labels.count - 1] = lastLabel }
    try folder.write("\(split)-images-idx3-ubyte", images)
    try folder.write("\(split)-labels-idx1-ubyte", labels)
  }
}

/// The metrics in a JSON object of the program.
func metrics(_ object: Any?, sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Double] {
  let object = try #require(object as? [String: Any], sourceLocation: sourceLocation)
  let values = object.filter {
    ["acc", "asr", "ra", "asr_all_images", "asr_without_trigger"].contains($0.key)
  }
  .compactMapValues { $0 as? Double }
  for (name, value) in values { #expect((0...1).contains(value), "\(name)", sourceLocation: sourceLocation) }
  #expect(values["acc"] != nil, sourceLocation: sourceLocation)
  return values
}
