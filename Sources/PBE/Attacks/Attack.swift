import Foundation
import Kernels

/// A backdoor attack: how a trigger gets into images. A new attack is one file with a conforming type, and a line in
/// ``Attacks/known``.
///
/// Its JSON object may leave out every parameter that has a default; where all have one, the attack's name alone
/// describes it.
public protocol Attack: Sendable, Codable {
  /// The attack's name in JSON and on the command line.
  static var name: String { get }
  /// The parameters' keys in JSON.
  static var keys: Set<String> { get }
  /// Cross images per poisoned image: 0 where the attack has none.
  var crossRatio: Double { get }
  /// Whether only images of the target class are poisoned, which keep their label.
  var isCleanLabel: Bool { get }
  /// The same attack with other paths for its files: what `change` makes of each one's key in JSON and path.
  func changingFiles(_ change: (_ key: String, _ path: String) throws -> String) rethrows -> Self
  /// Checks the parameters against the images and puts what the trigger needs on a device. `image` is the shape of
  /// one image, `seed` the key of everything that the attack draws. Throws `badData` when a parameter doesn't fit.
  func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger
}

extension Attack {
  public var crossRatio: Double { 0 }
  public var isCleanLabel: Bool { false }
  public func changingFiles(_ change: (_ key: String, _ path: String) throws -> String) rethrows -> Self {
    self
  }

  /// The same attack with the paths of its files starting from `directory` instead of the working directory.
  public func resolvingPaths(from directory: String) -> Self {
    changingFiles { _, path in
      path.hasPrefix("/") ? path : RealPath.resolvingFolder(of: "\(directory)/\(path)")
    }
  }
}

/// An attack's trigger on a device.
public protocol Trigger: Sendable {
  /// Writes the operators that treat the samples of a batch by their roles, and returns the treated images:
  /// float32 image (n, c, h, w) in [0, 1]. Samples that ``TriggerBatch/selection(of:in:)`` names neither as poisoned
  /// nor as cross stay as they are, bit for bit.
  func apply(to batch: TriggerBatch, in program: inout Program) throws -> Value
}

/// The attacks that this version knows.
public enum Attacks {
  static let known: [any Attack.Type] = [
    BadNet.self,
    Blend.self,
    SIG.self,
    WaNet.self,
    ImageTrigger.self,
    Dynamic.self,
  ]

  /// Their names.
  public static var names: [String] { known.map { $0.name } }
}

/// Which label a triggered image gets.
public enum AttackMode: String, Codable, Sendable {
  /// Every triggered image gets the target label.
  case allToOne = "all-to-one"
  /// A triggered image of class y gets (y + 1) mod classes.
  case allToAll = "all-to-all"
}
