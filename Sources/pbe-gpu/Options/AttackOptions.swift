import ArgumentParser
import Kernels
import PBE

/// The attack that `infect` plants: a name with its defaults, or a file with everything.
struct AttackOptions: ParsableArguments {
  @Option(
    help: "The attack: badnet, a JSON file (docs/attacks.md), or none. Not for data that carry triggers already.")
  var attack: String?

  @Option(help: "The target label of an all-to-one attack. Default: 0, or the file's.")
  var target: Int?

  @Option(help: "all-to-one or all-to-all. Default: all-to-one, or the file's.")
  var mode: AttackMode?

  @Option(help: "The share of the training set to poison. Default: 0.1, or the file's.")
  var poisonRate: Double?

  /// The attack, `nil` for none; poisons with `seed` unless the file says otherwise.
  func load(seed: UInt64) throws -> AttackFile? {
    guard let attack else {
      throw PBEError(
        .usage, "the attack is missing", at: "--attack", remedy: "name one, or none; see docs/attacks.md")
    }
    if attack == "none" { return nil }
    var file: AttackFile
    if attack == BadNet.name {
      file = AttackFile(BadNet(), target: 0, poisonSeed: seed)
    } else if attack.hasSuffix(".json") {
      file = try AttackFile.load(attack)
    } else {
      throw PBEError(
        .usage, "there is no attack \"\(attack)\"", at: "--attack",
        remedy: "use badnet, a JSON file (docs/attacks.md), or none")
    }
    file.target = target ?? file.target
    file.mode = mode ?? file.mode
    file.poisonRate = poisonRate ?? file.poisonRate
    guard file.target >= 0, (0...1).contains(file.poisonRate) else {
      throw PBEError(
        .usage, "--target must not be negative, and --poison-rate must be from 0 to 1", at: "--attack")
    }
    return file
  }
}
