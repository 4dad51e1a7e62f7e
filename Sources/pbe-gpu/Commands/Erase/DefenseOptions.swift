import ArgumentParser
import Kernels
import PBE

/// How `erase` erases.
enum DefenseMethod: String, ExpressibleByArgument, CaseIterable, Codable {
  case pbe, aft
  case fineTuning = "fine-tuning"
  case finePruning = "fine-pruning"
  case ftSAM = "ft-sam"
}

/// Where the parameters of a method come from.
enum DefenseRecipe: String, ExpressibleByArgument, CaseIterable, Codable { case auto, paper }

extension AutomaticErasing.Part: ExpressibleByArgument {}

/// A defense with all its parameters.
enum DefensePlan: Encodable {
  case paper(ProgressiveErasing)
  case automatic(AutomaticErasing)
  case cleanFineTuning(CleanFineTuning)
  case automaticFineTuning(AutomaticFineTuning)

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .paper(let pbe): try pbe.encode(to: encoder)
    case .automatic(let pbe): try pbe.encode(to: encoder)
    case .cleanFineTuning(let tuning): try tuning.encode(to: encoder)
    case .automaticFineTuning(let aft): try aft.encode(to: encoder)
    }
  }
}

/// Which defense, and its parameters; those that are not given are the recipe's.
struct DefenseOptions: ParsableArguments {
  @Option(help: "How to erase.")
  var method = DefenseMethod.pbe

  @Option(
    help:
      "pbe and aft: where the parameters come from. auto is pbe-gpu's own way of erasing, paper the paper's code. Default: auto."
  )
  var recipe: DefenseRecipe?

  /// The recipe; `nil` for methods that have one only.
  var usedRecipe: DefenseRecipe? { hasRecipes ? recipe ?? .auto : nil }
  private var hasRecipes: Bool { method == .pbe || method == .aft }

  @Option(help: "The learning rate. --recipe auto: of the first step; the others keep their proportion.")
  var learningRate: Double?

  @Option(help: "\(Schedule.help) Not for --recipe auto.")
  var schedule: Schedule?

  @Option(
    help: "Epochs: of each step (pbe --recipe paper), or in all. Not for --recipe auto."
  )
  var epochs: Int?

  @Option(help: "Images per step of SGD.")
  var batch: Int?

  @Option(help: "The momentum of SGD.")
  var momentum: Double?

  @Flag(inversion: .prefixedNo, help: "Nesterov's variant of momentum.")
  var nesterov: Bool?

  @Option(help: "The L2 penalty of SGD.")
  var weightDecay: Double?

  @Flag(inversion: .prefixedNo, help: "Shuffle the images each epoch.")
  var shuffle = true

  @OptionGroup(title: "Adversarial examples") var pgd: PGDOptions
  @OptionGroup(title: "Augmentation") var augmentation: AugmentationOptions

  @Option(
    help:
      "pbe --recipe paper: the share of the training set that the first step draws at random. Default: 0.05.")
  var initialFraction: Double?

  @Option(
    help:
      "pbe --recipe paper: the share of the training set, by highest agreement, that each later step takes. Default: 0.2,0.5,0.7."
  )
  var keepRates: NumberList?

  @Option(help: "pbe --recipe paper: adversarial batches at the beginning of each later step. Default: 31.")
  var adversarialBatches: Int?

  @Option(
    help:
      "pbe --recipe auto: leave out a part, to see what it is worth; may be repeated (docs/metrics.md)."
  )
  var without: [AutomaticErasing.Part] = []

  @Option(help: "aft --recipe paper: the first epochs, which train on adversarial examples. Default: 3.")
  var adversarialEpochs: Int?

  func validate() throws {
    if let learningRate { try LearningRate.check(learningRate) }
    guard (1...100_000).contains(epochs ?? 1) else { throw ValidationError("--epochs must be 1 to 100000") }
    try SGDOptions.check(
      batch: batch, momentum: momentum, weightDecay: weightDecay, nesterov: nesterov == true)
    for share in [initialFraction ?? 1] + (keepRates?.values ?? []) where !(share > 0 && share <= 1) {
      throw ValidationError("--initial-fraction and --keep-rates must be above 0 and at most 1")
    }
    guard (0...1_000_000).contains(adversarialBatches ?? 0), (0...1_000_000).contains(adversarialEpochs ?? 0)
    else {
      throw ValidationError("--adversarial-batches and --adversarial-epochs must be 0 to 1000000")
    }
    guard keepRates?.values.count ?? 0 <= 100 else {
      throw ValidationError("--keep-rates takes at most 100 steps")
    }
    try checkThatOptionsApply()
  }

  /// An option that changes nothing would be believed to.
  private func checkThatOptionsApply() throws {
    let isAutomatic = hasRecipes && recipe != .paper
    let isPaper = hasRecipes && recipe == .paper
    let isPapersPBE = isPaper && method == .pbe
    let given: [(name: String, isGiven: Bool, applies: Bool, whom: String)] = [
      ("--recipe", recipe != nil, hasRecipes, "--method pbe and --method aft"),
      ("--schedule", schedule != nil, !isAutomatic, "--recipe paper and the other methods"),
      ("--epochs", epochs != nil, !isAutomatic, "--recipe paper and the other methods"),
      (
        "--initial-fraction", initialFraction != nil, isPapersPBE, "--method pbe --recipe paper"
      ),
      ("--keep-rates", keepRates != nil, isPapersPBE, "--method pbe --recipe paper"),
      (
        "--adversarial-batches", adversarialBatches != nil, isPapersPBE,
        "--method pbe --recipe paper"
      ),
      ("--without", !without.isEmpty, isAutomatic && method == .pbe, "--method pbe --recipe auto"),
      ("an option of adversarial examples", pgd.isGiven, isPaper, "--recipe paper"),
      (
        "--adversarial-epochs", adversarialEpochs != nil, isPaper && method == .aft,
        "--method aft --recipe paper"
      ),
    ]
    for option in given where option.isGiven && !option.applies {
      throw ValidationError("\(option.name) is for \(option.whom)")
    }
  }

  /// Whether the method works on the training set that infected the model, rather than on clean images.
  var usesTrainingSet: Bool { method == .pbe }

  /// The defense with every parameter.
  func plan(flips: Bool, seed: UInt64) -> DefensePlan {
    switch method {
    case .pbe where recipe == .paper:
      var pbe = ProgressiveErasing()
      adjust(&pbe.tuning, flips: flips, seed: seed)
      pbe.initial_fraction = initialFraction ?? pbe.initial_fraction
      pbe.keep_rates = keepRates?.values ?? pbe.keep_rates
      pbe.epochs_per_step = epochs ?? pbe.epochs_per_step
      pbe.adversarial_batches = adversarialBatches ?? pbe.adversarial_batches
      return .paper(pbe)
    case .pbe:
      var pbe = AutomaticErasing()
      adjust(&pbe.tuning, flips: flips, seed: seed)
      pbe.without = AutomaticErasing.Part.allCases.filter(without.contains)
      pbe.learning_rates = scaled(pbe.learning_rates)
      return .automatic(pbe)
    case .aft where recipe == .paper: return .cleanFineTuning(adjusted(.aft, flips: flips, seed: seed))
    case .aft:
      var aft = AutomaticFineTuning()
      adjust(&aft.tuning, flips: flips, seed: seed)
      aft.learning_rates = scaled(aft.learning_rates)
      return .automaticFineTuning(aft)
    case .fineTuning: return .cleanFineTuning(adjusted(.fineTuning, flips: flips, seed: seed))
    case .finePruning: return .cleanFineTuning(adjusted(.finePruning, flips: flips, seed: seed))
    case .ftSAM: return .cleanFineTuning(adjusted(.ftSAM, flips: flips, seed: seed))
    }
  }

  /// The learning rates of a recipe's steps, by that of the first.
  private func scaled(_ rates: [Float]) -> [Float] {
    guard let learningRate, let first = rates.first else { return rates }
    return rates.map { $0 * Float(learningRate) / first }
  }

  private func adjusted(_ defaults: CleanFineTuning, flips: Bool, seed: UInt64) -> CleanFineTuning {
    var result = defaults
    adjust(&result.tuning, flips: flips, seed: seed)
    result.epochs = epochs ?? result.epochs
    result.adversarial_epochs = adversarialEpochs ?? result.adversarial_epochs
    return result
  }

  private func adjust(_ tuning: inout TrainingSettings, flips: Bool, seed: UInt64) {
    tuning.batch = batch ?? tuning.batch
    tuning.learning_rate = learningRate.map { Float($0) } ?? tuning.learning_rate
    tuning.schedule = schedule ?? tuning.schedule
    tuning.momentum = momentum.map { Float($0) } ?? tuning.momentum
    tuning.nesterov = nesterov ?? tuning.nesterov
    tuning.weight_decay = weightDecay.map { Float($0) } ?? tuning.weight_decay
    tuning.attack = pgd.attack
    tuning.augmentation = augmentation.augmentation(flips: flips)
    tuning.shuffles = shuffle
    tuning.seed = seed
  }
}
