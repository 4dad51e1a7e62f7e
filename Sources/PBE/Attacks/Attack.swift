import Kernels

/// A backdoor attack: how a trigger gets into images. A new attack is one file with a conforming type, and a line in
/// ``Attacks/known``.
public protocol Attack: Sendable, Codable {
  /// The attack's name in JSON and on the command line.
  static var name: String { get }
  /// The parameters' keys in JSON.
  static var keys: Set<String> { get }
  /// Checks the parameters against the images and puts what the trigger needs on a device. `directory` is where image
  /// paths start from. Throws `badData` when a parameter doesn't fit.
  func makeTrigger(image: Shape, directory: String, on backend: any Backend) throws -> any Trigger
}

/// An attack's trigger on a device.
public protocol Trigger: Sendable {
  /// Writes the operators that put the trigger on the flagged samples of a batch, and returns the triggered batch.
  ///
  /// - Parameters:
  ///   - images: float32 image (n, c, h, w) in [0, 1].
  ///   - flags: int32 per sample, non-zero for triggered; `nil` triggers all.
  func apply(to images: Value, flags: Value?, in program: inout Program) -> Value
}

/// The attacks that this version knows.
public enum Attacks {
  static let known: [any Attack.Type] = [BadNet.self, ImageTrigger.self]

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
