/// One kernel launch, before there is any memory: what the operators of a ``Program`` become.
struct LaunchPlan {
  /// A kernel's argument.
  enum Argument {
    /// A value's buffer.
    case value(Value)
    /// A null pointer.
    case none
    /// A scratch buffer.
    case scratch(Scratch)
    case int(Int32)
    case float(Float)
    /// The key of Philox, as a uint2.
    case seed(UInt64)
    case uint(UInt32)
    /// A number that a kernel divides by, as `quotient` in kernels.cl expects it: a uint2.
    case divisor(Int)
    /// A number that comes with each run.
    case run(RunField)
  }

  /// Memory that an operator needs for itself; one buffer each serves all operators, one after the other.
  enum Scratch: Int, CaseIterable {
    /// A convolution's input after the prologue.
    case input
    /// A filter in the order that the convolution reads.
    case filter
    /// Partial sums.
    case partial
    /// The second stage of partial sums.
    case secondPartial
    /// Zeros, never written.
    case zeros
    /// Winograd's transformed input.
    case winogradInput
    /// Winograd's products, or the transformed output gradient.
    case winogradOutput
  }

  /// What a run passes.
  enum RunField {
    case rowOffset, epoch, step, learningRate
    /// `learningRate / (1 - beta1^step)`
    case adamRate(beta1: Float)
    /// `sqrt(1 - beta2^step)`
    case adamCorrection(beta2: Float)
  }

  /// The operator's position in the program.
  let operation: Int
  /// The kernel's name.
  let kernel: String
  /// The build options of its program.
  let variant: String
  /// Its arguments in order.
  let arguments: [Argument]
  /// Work-items per dimension that are needed; rounded up to whole groups.
  let global: [Int]
  /// Work-items per dimension of a group.
  let local: [Int]
  /// The kernel is compiled for groups of this size, and works with no other.
  var isFixed = false
}

/// Turns the operators of a program into launches.
struct LaunchBuilder {
  /// Goes up when launches change so that results round otherwise: how sums are cut, for example.
  static let version = 1

  let program: Program
  let tuning: OpenCLTuning
  /// Work-items that fill the device.
  let itemsToFill: Int
  /// The operator that is being turned into launches.
  private var operation = 0
  /// The launches so far.
  private(set) var plans: [LaunchPlan] = []
  /// The bytes of each scratch buffer that they need.
  private(set) var scratch = [Int](repeating: 0, count: LaunchPlan.Scratch.allCases.count)

  init(_ program: Program, tuning: OpenCLTuning) throws {
    self.program = program
    self.tuning = tuning
    itemsToFill = tuning.limits.computeUnits * tuning.itemsPerUnit
    for (index, operation) in program.operations.enumerated() {
      self.operation = index
      try append(operation)
    }
  }

  // MARK: - For the operators

  /// The shape of a value.
  func shape(_ value: Value) -> Shape { program[value].shape }

  /// A count or extent as a kernel's argument. Throws `device` for what a kernel can't index.
  func int(_ number: Int) throws -> LaunchPlan.Argument {
    guard let number = Int32(exactly: number) else {
      throw PBEError(
        .device, "a tensor has \(number) elements, too many for one kernel", remedy: "use a smaller batch")
    }
    return .int(number)
  }

  /// Counts as arguments.
  func ints(_ numbers: Int...) throws -> [LaunchPlan.Argument] { try numbers.map(int) }

  /// A value's buffer, or a null pointer.
  func optional(_ value: Value?) -> LaunchPlan.Argument { value.map { .value($0) } ?? .none }

  /// Both vectors of an affine map, or null pointers.
  func affine(_ map: ChannelAffine?) -> [LaunchPlan.Argument] {
    [optional(map?.scale), optional(map?.shift)]
  }

  /// A function's code and parameter.
  func activation(_ activation: Activation) -> [LaunchPlan.Argument] {
    [.int(activation.code), .float(activation.parameter)]
  }

  func flag(_ flag: Bool) -> LaunchPlan.Argument { .int(flag ? 1 : 0) }

  /// Makes a scratch buffer hold at least `count` floats.
  mutating func need(_ buffer: LaunchPlan.Scratch, floats count: Int) throws -> LaunchPlan.Argument {
    _ = try int(count)
    scratch[buffer.rawValue] = max(scratch[buffer.rawValue], count * 4)
    return .scratch(buffer)
  }

  /// Appends a launch.
  mutating func launch(
    _ kernel: String, _ arguments: [LaunchPlan.Argument], global: [Int], local: [Int], variant: String? = nil,
    isFixed: Bool = false
  ) {
    plans.append(
      LaunchPlan(
        operation: operation, kernel: kernel, variant: variant ?? tuning.generalOptions,
        arguments: arguments,
        global: global.map { max(1, $0) }, local: local, isFixed: isFixed))
  }

  /// Appends a launch of one light work-item per element.
  mutating func elementwise(_ kernel: String, _ arguments: [LaunchPlan.Argument], count: Int) {
    launch(kernel, arguments, global: [count], local: [256])
  }

  /// Appends a launch of one heavy work-item per row.
  mutating func rowwise(_ kernel: String, _ arguments: [LaunchPlan.Argument], rows: Int) {
    launch(kernel, arguments, global: [rows], local: [tuning.isCPU ? 4 : 64])
  }

  /// Appends a launch of `columns` x `rows` light work-items, neighbours along the columns.
  mutating func grid(
    _ kernel: String, _ arguments: [LaunchPlan.Argument], columns: Int, rows: Int, variant: String? = nil
  ) {
    let width = powerOfTwo(columns, limit: 64)
    launch(kernel, arguments, global: [columns, rows], local: [width, 256 / width], variant: variant)
  }

  /// The smallest power of two that holds `count`, but at most `limit`.
  func powerOfTwo(_ count: Int, limit: Int) -> Int {
    var power = 1
    while power < count, power < limit { power *= 2 }
    return power
  }
}

/// `count / size`, rounded up.
func divideUp(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
