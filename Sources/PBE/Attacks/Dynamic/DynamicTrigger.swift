import Kernels

/// The trigger that generators make for each image: `x + (pattern - x) * mask`, from the image itself, or from another
/// one for cross images.
struct DynamicTrigger: Trigger {
  let generators: Generators

  func apply(to batch: TriggerBatch, in program: inout Program) throws -> Value {
    let images = batch.images
    switch (batch.selection(of: .poisoned, in: &program), batch.selection(of: .cross, in: &program)) {
    case (.none, .none): return images
    case (.all, _): return try blend(images, from: images, flags: [nil], in: &program)
    case (_, .all): return try blend(images, from: batch.partners(in: &program), flags: [nil], in: &program)
    case (.flagged(let poisoned), .none):
      return try blend(images, from: images, flags: [poisoned], in: &program)
    case (let own, .flagged(let cross)):
      // Cross images are replaced by their partners before the generators, which so run once.
      let shape = program[images].shape
      let everywhere = program.temporary(Shape(shape.n, 1, shape.h, shape.w))
      program.append(.fill(Fill(output: everywhere, value: 1)))
      let sources = put(
        try batch.partners(in: &program), everywhere, on: images, flags: cross, in: &program)
      return try blend(images, from: sources, flags: [cross] + (own.flags.map { [$0] } ?? []), in: &program)
    }
  }

  /// Patterns and masks made from `sources`, put on the samples that one of `flags` names; a flag of `nil` names all.
  private func blend(
    _ images: Value, from sources: Value, flags: [Value?], in program: inout Program
  ) throws -> Value {
    func make(_ network: Weights) throws -> Value {
      var lowering = Lowering(
        network, mode: .evaluation, batch: program[sources].shape.n, program: program)
      defer { program = lowering.program }
      return try lowering.forward(sources)
    }
    let (patterns, masks) = (try make(generators.pattern), try make(generators.mask))
    return flags.reduce(images) { put(patterns, masks, on: $0, flags: $1, in: &program) }
  }

  private func put(
    _ patterns: Value, _ masks: Value, on images: Value, flags: Value?, in program: inout Program
  ) -> Value {
    let output = program.temporary(program[images].shape)
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: images, pattern: patterns, mask: masks, flags: flags, output: output, kind: .blend,
          clip: false)))
    return output
  }
}
