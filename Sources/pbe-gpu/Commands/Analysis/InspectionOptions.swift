import ArgumentParser
import Kernels
import PBE

/// How `inspect` and `observe` make adversarial examples.
struct InspectionOptions: ParsableArguments {
  @Option(
    help: "How many test images at most, of those that are classified right; chosen by --seed. Default: 1000."
  )
  var images: Int?

  @Option(help: "The L-infinity sizes of perturbations, in units of 1/255. Default: 1,2,4,6,8.")
  var epsilon: NumberList?

  @Option(
    help:
      "The L2 sizes, in units of 1/255. Default: one for each of --epsilon, 16 times as large on images of 3x32x32."
  )
  var epsilonL2: NumberList?

  @Option(help: "The number of PGD steps, each a fifth of the size. Default: 7.")
  var pgdSteps: Int?

  @Flag(help: "Clip adversarial examples to valid pixels. The paper's code does not.")
  var clip = false

  func validate() throws {
    guard (1...1_000_000).contains(images ?? 1) else { throw ValidationError("--images must be at least 1") }
    guard (1...1000).contains(pgdSteps ?? 1) else { throw ValidationError("--pgd-steps must be 1 to 1000") }
    for (name, list, most) in [
      ("--epsilon", epsilon, Budget.largest(.infinity)), ("--epsilon-l2", epsilonL2, Budget.largest(.two)),
    ] {
      guard let values = list?.values else { continue }
      guard values.count <= 32, values.allSatisfy({ $0 >= 0.001 && $0 <= most }) else {
        throw ValidationError("\(name) takes at most 32 numbers from 0.001 to \(most), in units of 1/255")
      }
      guard Set(values).count == values.count else { throw ValidationError("\(name) holds a number twice") }
    }
  }

  /// Whether any of these was given.
  var isGiven: Bool { images != nil || epsilon != nil || epsilonL2 != nil || pgdSteps != nil || clip }

  func settings(imageSize: Int, seed: UInt64) -> InspectionSettings {
    var settings = InspectionSettings(
      epsilons: epsilon?.values, l2: epsilonL2?.values, imageSize: imageSize)
    settings.images = images ?? settings.images
    settings.steps = pgdSteps ?? settings.steps
    settings.clip = clip
    settings.seed = seed
    return settings
  }
}

/// One model, read and inspected, as `inspect` and `observe` both record it.
struct LoadedModel {
  let path: String
  let file: ModelFile
  let weights: Weights

  init(_ options: ModelOptions, _ path: String, for images: LabeledImages, on backend: any Backend) throws {
    self.path = path
    file = try options.load(path, for: images)
    weights = try file.weights(on: backend, place: path)
  }

  func record(_ findings: ModelFindings) -> InspectionRecord.Model {
    InspectionRecord.Model(path: path, checksum: file.state.checksum, findings: findings)
  }
}
