/// Operators that the CPU does in one pass over memory.
enum CPUFusion {
  /// The program with its fused operators, and which operator of the original each of them is.
  static func fuse(_ program: Program) -> (program: Program, origins: [Int]) {
    var operations: [Operation] = []
    var origins: [Int] = []
    var lastReader = [Int](repeating: -1, count: program.values.count)
    for (index, operation) in program.operations.enumerated() {
      for value in operation.descriptor.reads { lastReader[value.index] = index }
    }
    var index = 0
    while index < program.operations.count {
      var operation = program.operations[index]
      let origin = index
      index += 1
      if index < program.operations.count,
        let fused = fuse(operation, program.operations[index], in: program),
        lastReader[fused.dropped.index] == index
      {
        operation = fused.operation
        index += 1
      }
      operations.append(operation)
      origins.append(origin)
    }
    return (program.replacing(operations), origins)
  }

  /// A convolution's input gradient that only passes through the slope of an activation.
  private static func fuse(
    _ first: Operation, _ second: Operation, in program: Program
  ) -> (operation: Operation, dropped: Value)? {
    guard case .convolutionInputGradient(var gradient) = first,
      case .affineActivationGradient(let slope) = second, slope.outputGradient == gradient.inputGradient,
      slope.input != gradient.inputGradient, slope.inputGradient != gradient.outputGradient,
      program[gradient.inputGradient].tensor == nil,
      Winograd(
        gradient.geometry, input: program[gradient.inputGradient].shape,
        outputs: program[gradient.outputGradient].shape.c) != nil
    else { return nil }
    let dropped = gradient.inputGradient
    gradient.slope = FusedSlope(
      input: slope.input, affine: slope.affine, activation: slope.activation,
      addend: gradient.accumulate ? dropped : nil)
    gradient.inputGradient = slope.inputGradient
    gradient.accumulate = slope.accumulate
    return (.convolutionInputGradient(gradient), dropped)
  }
}
