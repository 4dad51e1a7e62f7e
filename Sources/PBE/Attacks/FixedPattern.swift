import Kernels

/// A trigger that is the same on every image: a pattern and how strongly each pixel takes it.
struct FixedPattern: Trigger {
  let pattern: Tensor
  let mask: Tensor
  let kind: ApplyTrigger.Kind
  let clip: Bool

  /// Puts NCHW values of one image on the device.
  init(
    pattern: [Float], mask: [Float], image: Shape, kind: ApplyTrigger.Kind, clip: Bool,
    on backend: any Backend
  ) throws {
    self.pattern = try backend.makeTensor(pattern, shape: image, role: .image)
    self.mask = try backend.makeTensor(mask, shape: image, role: .image)
    self.kind = kind
    self.clip = clip
  }

  func apply(to batch: TriggerBatch, in program: inout Program) -> Value {
    let selection = batch.selection(of: .poisoned, in: &program)
    guard !selection.isEmpty else { return batch.images }
    let output = program.temporary(program[batch.images].shape)
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: batch.images, pattern: program.bind(pattern), mask: program.bind(mask),
          flags: selection.flags,
          output: output, kind: kind, clip: clip)))
    return output
  }
}
