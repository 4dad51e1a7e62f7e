import Kernels

/// What an image of a poisoned training set is.
public enum ImageRole: Int32, Sendable, Codable, CaseIterable {
  /// Unchanged.
  case clean = 0
  /// It carries the trigger; its label is the attacker's.
  case poisoned = 1
  /// Changed in a way that must not trigger (WaNet's noise mode, the input-aware attack's cross-trigger). It keeps its
  /// true label, and counts as clean where the truth is asked for.
  case cross = 2
}

extension [ImageRole] {
  /// Whether each image carries the trigger: the ground truth of a defense.
  public var isPoisoned: [Bool] { map { $0 == .poisoned } }
}

/// A batch that a trigger is put on, as values of the program being written.
public struct TriggerBatch {
  /// Which samples have a role.
  public enum Selection {
    /// No sample.
    case none
    /// Every sample.
    case all
    /// Those with a non-zero flag: int32 per sample.
    case flagged(Value)

    /// No sample has the role.
    var isEmpty: Bool { if case .none = self { true } else { false } }

    /// int32 per sample for an operator; `nil` where it is for all of them.
    var flags: Value? { if case .flagged(let value) = self { value } else { nil } }
  }

  /// The roles of a batch's samples.
  enum Roles {
    /// All samples have one role.
    case all(ImageRole)
    /// int32 per sample, the raw value of its ``ImageRole``; with tables that map those to flags.
    case each(Value, RoleTables)
  }

  /// float32 image (n, c, h, w) in [0, 1].
  public let images: Value
  /// int32 per sample: its index in the data set, the key of its random numbers (with ``RunParameters/epoch``).
  public let samples: Value
  private let roles: Roles
  private let makePartners: ((inout Program) -> Value)?

  /// A batch whose samples all have one role, as in evaluation.
  public init(
    images: Value, samples: Value, all role: ImageRole, partners: ((inout Program) -> Value)? = nil
  ) {
    self.init(images: images, samples: samples, roles: .all(role), partners: partners)
  }

  init(images: Value, samples: Value, roles: Roles, partners: ((inout Program) -> Value)? = nil) {
    self.images = images
    self.samples = samples
    self.roles = roles
    makePartners = partners
  }

  /// The samples of a role.
  public func selection(of role: ImageRole, in program: inout Program) -> Selection {
    switch roles {
    case .all(let all): return all == role ? .all : .none
    case .each(let roles, let tables):
      let flags = program.temporary(program[roles].shape, type: .int32, role: .plain)
      program.append(
        .gatherIntegers(
          GatherIntegers(table: program.bind(tables.table(role)), rows: roles, output: flags)))
      return .flagged(flags)
    }
  }

  /// For each sample another image of the same data set, always the same one, without any trigger: float32 image
  /// (n, c, h, w). Throws `internal` where the batch doesn't come from a data set.
  public func partners(in program: inout Program) throws -> Value {
    guard let makePartners else {
      throw PBEError(.internal, "this batch has no data set to take partner images from")
    }
    return makePartners(&program)
  }
}

/// For each role a table from the roles' raw values to flags: 1 for this role, 0 for the others.
struct RoleTables: Sendable {
  private let tables: [Tensor]

  init(on backend: any Backend) throws {
    let roles = ImageRole.allCases
    tables = try roles.map { role in
      try backend.makeTensor(roles.map { $0 == role ? Int32(1) : 0 }, shape: Shape(roles.count, 1))
    }
  }

  func table(_ role: ImageRole) -> Tensor { tables[Int(role.rawValue)] }
}
