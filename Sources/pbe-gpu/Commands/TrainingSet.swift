import Kernels
import PBE

/// The training images of `infect` and `erase`, and what an attack does to them, or did already.
struct TrainingSet {
  let images: LabeledImages
  /// The attack to score by.
  let attack: AttackFile?
  /// What each image is; `nil` where nobody knows.
  let poison: PoisonedSet?
  /// Whether the images carry the triggers in their pixels, rather than getting them when they are loaded.
  let carriesTriggers: Bool

  /// Reads the training set. A folder that `poison` wrote brings its attack and its truth along: then `attack` is only
  /// to score by, as it is when the images are `poisonedAlready`.
  static func load(
    _ data: DataOptions, attack: AttackFile?, poisonedAlready: Bool = false
  ) throws -> TrainingSet {
    let all = try data.allTraining()
    let chosen = data.limit.map { all.sampleIndices($0) }
    let images = try chosen.map { try all.subset($0) } ?? all
    if let written = try data.poisonedAttack(), let record = written.record {
      let truth = try record.poisonedSet(all, as: data.dataset, path: data.attackPath)
      return TrainingSet(
        images: images, attack: attack ?? written, poison: chosen.map { truth.subset($0) } ?? truth,
        carriesTriggers: true)
    }
    if poisonedAlready {
      return TrainingSet(images: images, attack: attack, poison: nil, carriesTriggers: true)
    }
    try attack?.check(classes: images.classes)
    return TrainingSet(
      images: images, attack: attack, poison: try attack.map { try PoisonedSet(images, $0) },
      carriesTriggers: false)
  }

  /// The set on a device, with the attack's trigger and labels.
  func onDevice(_ backend: any Backend) throws -> DeviceImages {
    guard !carriesTriggers, let attack, let poison else { return try DeviceImages(images, on: backend) }
    return try DeviceImages(
      images, on: backend, labels: poison.labels, roles: poison.roles,
      trigger: attack.makeTrigger(for: images, on: backend))
  }
}

extension DataOptions {
  /// Where `poison` puts the attack that it wrote into the data: beside the files that are read, which may lie in a folder
  /// of `--data`. Where there are none, reading them will tell.
  var attackPath: String {
    let folder = (try? dataset.folder(in: data, split: .train)) ?? data
    return folder.hasSuffix("/") ? "\(folder)attack.json" : "\(folder)/attack.json"
  }

  /// The attack that the training images carry already, where `poison` wrote them.
  func poisonedAttack() throws -> AttackFile? {
    guard InputFile.isNamed(attackPath) else { return nil }
    let file = try AttackFile.load(attackPath)
    return file.record == nil ? nil : file
  }

  /// Throws `usage` when the training images carry triggers already: poisoned twice they would be of no use.
  func refusePoisoned(_ remedy: String) throws {
    guard try poisonedAttack() != nil else { return }
    throw PBEError(
      .usage, "the training images carry the triggers of an attack already (attack.json)", at: data,
      remedy: remedy)
  }
}
