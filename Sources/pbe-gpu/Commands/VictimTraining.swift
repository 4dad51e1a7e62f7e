import Foundation
import Kernels
import PBE

/// What trains a victim: the plain loop, or the loop of an attack whose trigger is trained with it.
enum VictimTraining {
  /// The trainer of `weights`. When the attack's trigger is still to be trained, `attack` gets it as it is on the device,
  /// and follows the training.
  static func trainer(
    _ weights: Weights, _ set: TrainingSet, _ attack: inout AttackFile?, settings: TrainingSettings,
    maskEpochs: Int
  ) throws -> any EpochTrainer {
    let backend = weights.backend
    guard var file = attack, let poison = set.poison, !set.carriesTriggers,
      var dynamic = file.attack as? Dynamic, dynamic.generators == nil
    else {
      return try Trainer(weights, data: set.onDevice(backend), settings: settings)
    }
    let training = set.images
    let generators = try dynamic.makeGenerators(
      for: Shape(1, training.channels, training.height, training.width), on: backend)
    try generators.initialise(seed: settings.seed)
    dynamic.live = generators
    file.attack = dynamic
    attack = file
    return try DynamicTrainer(
      weights, generators: generators, training: training, poison: poison, settings: settings,
      maskEpochs: maskEpochs, diversityWeight: dynamic.diversity, generatorRate: dynamic.rate)
  }

  /// Throws `cannotCreate` when ``save(_:in:provenance:)`` would write over what `poison` wrote into the folder.
  static func checkKeepsPoison(_ folder: String) throws {
    let path = "\(folder)/\(attackName)"
    guard PoisonRecord.isIn(path) else { return }
    throw PBEError(
      .cannotCreate,
      "it tells which images of the poisoned training set beside it are poisoned, and would be replaced",
      at: path, remedy: "choose another --output")
  }

  /// The names of the files that ``save(_:in:provenance:)`` writes.
  static func files(of attack: AttackFile?) -> [String] {
    guard let attack else { return [] }
    let isTrained = (attack.attack as? Dynamic).map { $0.generators == nil } ?? false
    return [attackName] + (isTrained ? [generatorsName] : [])
  }

  private static let attackName = "attack.json", generatorsName = "generators.safetensors"

  /// Writes attack.json and, before it, the trigger that was trained.
  static func save(_ attack: AttackFile, in folder: String, provenance: [String: String]) throws {
    var attack = attack
    if var dynamic = attack.attack as? Dynamic, let trained = dynamic.live {
      let generators = "\(folder)/\(generatorsName)"
      try trained.save(to: generators, provenance: provenance)
      dynamic.generators = generators
      attack.attack = dynamic
    }
    try AtomicFile.write(attack.encoded(in: folder), to: "\(folder)/\(attackName)")
  }
}
