import ArgumentParser
import Kernels
import PBE

/// The attack that `infect` plants: a name with its defaults, or a file with everything.
struct AttackOptions: ParsableArguments {
  @Option(
    help:
      "The attack: \(Attacks.names.joined(separator: ", ")), a JSON file, whose name ends in .json (docs/attacks.md), or, for infect, none. Required, but not by infect with data that poison wrote."
  )
  var attack: String?

  @Option(
    help: ArgumentHelp(
      "A parameter of the attack (docs/attacks.md), for example alpha=0.2; repeat for more. Replaces the file's.",
      valueName: "key=value"))
  var parameter: [String] = []

  @Option(help: "The target label of an all-to-one attack. Default: 0, or the file's.")
  var target: Int?

  @Option(help: "all-to-one or all-to-all. Default: all-to-one, or the file's.")
  var mode: AttackMode?

  @Option(help: "The share of the training set to poison. Default: 0.1, or the file's.")
  var poisonRate: Double?

  /// Whether anything but the attack itself was given.
  var isAdjusted: Bool { !parameter.isEmpty || target != nil || mode != nil || poisonRate != nil }

  private func parameters() throws -> [String: String] {
    try parameter.reduce(into: [:]) { result, text in
      guard let sign = text.firstIndex(of: "="), sign > text.startIndex else {
        throw PBEError(
          .usage, "\"\(text)\" is not KEY=VALUE", at: "--parameter",
          remedy: "see docs/attacks.md for the keys")
      }
      result[String(text[..<sign])] = String(text[text.index(after: sign)...])
    }
  }

  /// The attack, `nil` for none. One that is named poisons with `seed`; a file has a seed of its own.
  func load(seed: UInt64) throws -> AttackFile? {
    guard let attack else {
      throw PBEError(
        .usage, "the attack is missing", at: "--attack",
        remedy: "name one (docs/attacks.md); infect also takes none")
    }
    if attack == "none" {
      guard !isAdjusted else {
        throw PBEError(
          .usage, "no attack has no target, mode, poison rate or parameters", at: "--attack none",
          remedy: "leave them away")
      }
      return nil
    }
    guard attack.hasSuffix(".json") || Attacks.names.contains(attack) else {
      throw PBEError(
        .usage, "there is no attack \"\(attack)\"", at: "--attack",
        remedy: "use \(Attacks.names.joined(separator: ", ")), a JSON file (docs/attacks.md), or none")
    }
    var file =
      attack.hasSuffix(".json")
      ? try AttackFile.load(attack, parameters: parameters())
      : try AttackFile.named(attack, parameters: parameters(), seed: seed)
    file.target = target ?? file.target
    file.mode = mode ?? file.mode
    file.poisonRate = poisonRate ?? file.poisonRate
    guard target == nil || file.mode == .allToOne else {
      throw PBEError(
        .usage, "an all-to-all attack has no target", at: "--target", remedy: "leave it away")
    }
    guard file.target >= 0, (0...1).contains(file.poisonRate) else {
      throw PBEError(
        .usage, "--target must not be negative, and --poison-rate must be from 0 to 1",
        at: "--attack \(attack)",
        remedy: "they are \(file.target) and \(file.poisonRate)")
    }
    return file
  }

  /// The attack, for commands that can't do without.
  func loadRequired(seed: UInt64) throws -> AttackFile {
    guard let file = try load(seed: seed) else {
      throw PBEError(.usage, "this needs an attack", at: "--attack", remedy: "name one; see docs/attacks.md")
    }
    return file
  }
}
