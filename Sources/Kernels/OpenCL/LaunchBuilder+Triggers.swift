extension LaunchBuilder {
  mutating func applyTrigger(_ d: ApplyTrigger) throws {
    let x = shape(d.output)
    let perSample = x.c * x.h * x.w
    grid(
      "apply_trigger",
      [.value(d.input), .value(d.pattern), .value(d.mask), optional(d.flags), .value(d.output)]
        + (try ints(x.n, perSample, shape(d.pattern).n, x.c / shape(d.mask).c))
        + [flag(d.kind == .additive), flag(d.clip)],
      columns: perSample, rows: x.n)
  }

  mutating func applyTriggerGradient(_ d: ApplyTriggerGradient) throws {
    let x = shape(d.patternGradient)
    let perSample = x.c * x.h * x.w
    grid(
      "apply_trigger_gradient",
      [.value(d.outputGradient), .value(d.mask), optional(d.flags), .value(d.patternGradient)]
        + (try ints(shape(d.outputGradient).n, perSample, x.n, x.c / shape(d.mask).c))
        + [flag(d.accumulate)],
      columns: perSample, rows: x.n)
  }

  mutating func neighbourDistance(_ d: NeighbourDistance) throws {
    let x = shape(d.input)
    let perSample = x.c * x.h * x.w
    let parts = min(64, perSample)
    let partial = try need(.partial, floats: x.n * parts)
    grid(
      "neighbour_parts", [.value(d.input), partial] + (try ints(x.n, perSample, parts)), columns: parts,
      rows: x.n)
    rowwise(
      "neighbour_distance", [partial, .value(d.output)] + (try ints(x.n, perSample, parts)), rows: x.n)
  }

  mutating func diversityLoss(_ d: DiversityLoss) throws {
    let y = shape(d.outputs)
    let perSample = y.c * y.h * y.w
    let distances: [LaunchPlan.Argument] = [.value(d.inputDistances), .value(d.outputDistances)]
    launch("diversity_total", distances + [.value(d.total), try int(y.n)], global: [1], local: [1])
    grid(
      "diversity_gradient",
      distances + [.value(d.outputs), .value(d.outputsGradient)] + (try ints(y.n, perSample))
        + [.float(d.gradientScale)],
      columns: perSample, rows: y.n)
  }
}
