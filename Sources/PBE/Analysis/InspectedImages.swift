import Kernels

/// The images of an inspection: test images that all of its models classify right, and the same with the trigger where it
/// is known.
struct InspectedImages {
  let labels: [Int32]
  /// float32 NCHW in [0, 1].
  let clean: [Float]
  /// The same, triggered.
  let triggered: [Float]?
  /// Those whose label is not the attacker's; none where the attack is not known.
  let scored: [Int]
  /// For each model, the share of all test images that it classifies right.
  let accuracies: [Double]

  /// Chooses them. Throws `badData` when there are none, or a model's answers are not finite. `progress` is called now and
  /// then; throwing stops.
  init(
    _ test: LabeledImages, _ probes: [NetworkProbe], _ settings: InspectionSettings, _ attack: AttackFile?,
    on backend: any Backend, progress: () throws -> Void
  ) throws {
    try attack?.check(classes: test.classes)
    let all = try DeviceImages(test, on: backend).pixels()
    let isRight = try probes.map { probe in
      zip(try probe.answers(to: all, progress: { _ in try progress() }).labels, test.labels).map { $0 == $1 }
    }
    let right = (0..<test.count).filter { image in isRight.allSatisfy { $0[image] } }
    guard !right.isEmpty else {
      throw PBEError(
        .badData, "no test image is classified right, by all models that were given", at: test.name,
        remedy: "check that models and data set belong together")
    }
    let images = try test.subset(right).limited(to: settings.images, seed: settings.seed)
    let data = try DeviceImages(images, on: backend)
    labels = images.labels
    clean = try data.pixels()
    triggered = try attack.map {
      try DeviceImages(sharing: data, trigger: $0.makeTrigger(for: images, on: backend), as: .poisoned)
        .pixels()
    }
    scored = images.labels.indices.filter { image in
      guard let attack else { return false }
      return attack.targetLabel(of: images.labels[image], classes: images.classes) != images.labels[image]
    }
    accuracies = isRight.map { Double($0.count { $0 }) / Double(test.count) }
  }
}
