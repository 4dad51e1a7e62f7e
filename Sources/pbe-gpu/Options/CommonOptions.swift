import ArgumentParser
import Foundation
import Kernels
import Logging
import PBE

/// What every computing command takes.
struct CommonOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where to compute: cpu, opencl, opencl:1, or part of a device's name. auto takes the first OpenCL GPU, else the CPU.",
      valueName: "device"))
  var device = "auto"

  @OptionGroup var products: PrecisionOption

  @Option(help: "The seed of all random numbers; evaluate draws none.")
  var seed: UInt64 = 0

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  @Flag(help: "Print results and errors only.")
  var quiet = false

  /// Opens the device and sets up the terminal. A run that goes on from a `checkpoint` gets the kernels that it began with.
  func open(resuming checkpoint: String? = nil) throws -> (backend: any Backend, log: Logger) {
    Terminal.shared.configure(quiet: quiet)
    let log = Logger(label: "pbe-gpu") { _ in TerminalLogHandler() }
    let backend = try Devices.open(
      device, precision: products.precision,
      // Whatever is wrong with the checkpoint is told where the run goes on from it.
      choices: checkpoint.flatMap { try? RunCheckpoint.read($0) }?.choices, notice: { log.info("\($0)") }
    ) { what, share in
      try Interruption.check("run the command again")
      Terminal.shared.progress("tuning \(what)", share)
    }
    Terminal.shared.clear()
    try Interruption.check("run the command again")
    let precision = backend.device.precision
    let products = precision == .fp32 ? "" : ", products in \(precision.rawValue)"
    log.info("device: \(backend.device.identifier), \(backend.device.name)\(products)")
    return (backend, log)
  }
}

/// What products round their inputs to.
struct PrecisionOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What convolutions round their inputs to: fp32 (nothing), tf32 or bf16, on NVIDIA's tensor cores. Default: the variable PBE_GPU_PRECISION, or fp32."
    ))
  var precision: Precision?
}

/// How data sets are read whose files leave it open.
struct PictureOptions: ParsableArguments {
  @Option(help: "gtsrb, folder: scale images to so many rows and columns. Default: 32.")
  var imageSize: Int?

  @Option(help: "folder without train and test: the share of each class that is the test set. Default: 0.2.")
  var testFraction: Double?

  @Flag(help: "folder: read the images as grey.")
  var grey = false

  var options: DatasetOptions {
    DatasetOptions(imageSize: imageSize, testFraction: testFraction, isGrey: grey)
  }
}

/// Which data set, and how much of it.
struct DataOptions: ParsableArguments {
  @Option(help: "The folder that holds data_batch_1.bin, Final_Training, the idx files or folders of images.")
  var data: String

  @Option(help: "The data set in it.")
  var dataset: DatasetKind

  @Option(help: "Use only so many training images, chosen once and for all; for commands that read some.")
  var limit: Int?

  @Option(help: "Use only so many test images, chosen once and for all.")
  var testLimit: Int?

  @OptionGroup var pictures: PictureOptions

  func validate() throws {
    for (name, value) in [("--limit", limit), ("--test-limit", testLimit)] {
      if let value, value < 1 { throw ValidationError("\(name) must be at least 1") }
    }
  }

  /// For commands that read no training images: `--limit` would be believed to do something.
  func checkTestOnly() throws {
    guard limit == nil else {
      throw ValidationError("--limit is for training images, which are not used here; use --test-limit")
    }
  }

  /// The training images.
  func training() throws -> LabeledImages { try load(.train, limit) }

  /// The training images without --limit.
  func allTraining() throws -> LabeledImages { try load(.train, nil) }

  /// The test images.
  func test() throws -> LabeledImages { try load(.test, testLimit) }

  private func load(_ split: DatasetKind.Split, _ limit: Int?) throws -> LabeledImages {
    let images = try load(split, in: data)
    return try limit.map { try images.limited(to: $0) } ?? images
  }

  /// One part of a data set of the same kind, with the same options, in another folder.
  func load(_ split: DatasetKind.Split, in folder: String) throws -> LabeledImages {
    try dataset.load(directory: folder, split: split, options: pictures.options)
  }

  /// Mirrored images keep their class only where nothing is written on them.
  var flips: Bool { dataset == .cifar10 || dataset == .fashionMNIST }
}

extension DatasetKind: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}
extension Architecture: ExpressibleByArgument {}
extension AttackMode: ExpressibleByArgument {}
extension Schedule: ExpressibleByArgument {
  static let help = """
    How the learning rate changes: cosine (to 0 along half a cosine), one-cycle (up from 1/25 in the first 30%, then down to \
    nearly 0), multistep (to a tenth after half of the epochs, to a hundredth after three quarters) or constant.
    """
}

/// Numbers with commas between them.
struct NumberList: ExpressibleByArgument {
  var values: [Double]

  init(_ values: [Double]) { self.values = values }

  init?(argument: String) {
    values = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = Double(part.trimmingCharacters(in: .whitespaces)), Float(value).isFinite else {
        return nil
      }
      values.append(value)
    }
  }

  var defaultValueDescription: String { values.map { "\($0)" }.joined(separator: ",") }
}

/// How to read a model whose file does not describe its network.
struct ModelOptions: ParsableArguments {
  @Argument(help: "The model: safetensors, or a PyTorch checkpoint (read without executing anything in it).")
  var model: String

  @Option(
    help:
      "The network, for files that don't record it."
  )
  var architecture: Architecture?

  @Option(help: "Channels of the network's first stage, to check the file against.")
  var width: Int?

  @Option(
    help: "The input normalisation's means per channel, on pixels in [0, 1], for files that don't record it.")
  var mean: NumberList?

  @Option(help: "The input normalisation's standard deviations per channel.")
  var std: NumberList?

  /// Reads the model, or another one with the same hints. Throws `usage` when it takes other images.
  func load(_ path: String? = nil, for images: LabeledImages) throws -> ModelFile {
    let model = path ?? self.model
    let file = try ModelFile.load(
      model,
      hints: ModelFile.Hints(
        architecture: architecture, width: width, classes: images.classes, height: images.height,
        imageWidth: images.width, mean: mean?.values.map(Float.init) ?? [],
        deviation: std?.values.map(Float.init) ?? []))
    let network = file.specification
    guard network.channels == images.channels, network.height == images.height,
      network.imageWidth == images.width
    else {
      throw PBEError(
        .usage,
        "the model takes images of \(network.channels)x\(network.height)x\(network.imageWidth), but \(images.name) has "
          + "\(images.channels)x\(images.height)x\(images.width)", at: model,
        remedy:
          "check that model and data set belong together; --image-size and --grey say how folders of images are read"
      )
    }
    return file
  }
}
