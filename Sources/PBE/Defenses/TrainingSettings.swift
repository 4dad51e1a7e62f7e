/// How a network is trained, on plain and on adversarial examples. The defaults are those of the paper's code for AFT
/// and PBE, but for the order of the images, which is shuffled here.
public struct TrainingSettings: Sendable, Codable, Hashable {
  /// Images per step of SGD.
  public var batch = 128
  /// The learning rate of SGD.
  public var learning_rate: Float = 0.001
  /// How it changes.
  public var schedule = Schedule.constant
  /// The momentum of SGD.
  public var momentum: Float = 0.9
  /// Nesterov's variant of momentum.
  public var nesterov = false
  /// The L2 penalty of SGD.
  public var weight_decay: Float = 5e-4
  /// The length that all gradients together have at most (``ClipGradients``); `nil` for any.
  public var gradient_length: Float?
  /// The share of the target that all classes get alike.
  public var label_smoothing: Float = 0
  /// The radius of sharpness-aware steps; 0 for plain ones (``Plans/sharpnessAwareTrain``).
  public var sam_radius: Float = 0
  /// Perturbs each weight in proportion to its size.
  public var sam_adaptive = false
  /// How adversarial examples are made.
  public var attack = PGD()
  /// How images are augmented, before the attack; `nil` for not at all.
  public var augmentation: Augmentation?
  /// Whether dropout acts, in networks that have it.
  public var dropout = true
  /// A new order of the extra set each epoch. The paper's PBE keeps the data set's order, which on data stored class
  /// by class gives batches of one class.
  public var shuffles = true
  /// The key of all random numbers.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}
}
