import Kernels

/// WaNet: the image is warped a little by a smooth field, the same for all images (Nguyen and Tran, "WaNet:
/// imperceptible warping-based backdoor attack", ICLR 2021). Its cross images (noise mode) are warped by
/// the field with noise, new for each image and epoch, so that not any warp triggers.
public struct WaNet: Attack {
  public static let name = "wanet"

  /// The field's control points per side.
  public var k: Int
  /// The field's strength: control points move pixels by s/2 on average.
  public var s: Float
  /// Noise-mode images per poisoned image.
  public var cross_ratio: Double

  /// Creates the attack.
  public init(k: Int = 4, s: Float = 0.5, crossRatio: Double = 2) {
    self.k = k
    self.s = s
    cross_ratio = crossRatio
  }

  private enum CodingKeys: String, CodingKey, CaseIterable { case k, s, cross_ratio }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    k = try values.decodeIfPresent(Int.self, forKey: .k) ?? 4
    s = try values.decodeIfPresent(Float.self, forKey: .s) ?? 0.5
    cross_ratio = try values.decodeIfPresent(Double.self, forKey: .cross_ratio) ?? 2
  }

  public var crossRatio: Double { cross_ratio }

  public func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    guard (2...64).contains(k), (0...100).contains(s), cross_ratio >= 0 else {
      throw PBEError(
        .badData, "k must be 2 to 64, s 0 to 100, and cross_ratio not negative", at: "attack wanet",
        remedy: "see docs/attacks.md")
    }
    return try Warp(
      control: Self.control(k, seed: seed), size: k, strength: s, image: image, seed: seed, on: backend)
  }

  /// The control points' shifts: k x k in x, then k x k in y; uniform in [-1, 1), scaled to a mean size of 1.
  static func control(_ k: Int, seed: UInt64) -> [Float] {
    var stream = PhiloxStream(seed: seed, purpose: RandomPurpose.triggerPattern)
    let raw = (0..<2 * k * k).map { _ in 2 * stream.nextUniform() - 1 }
    let mean = raw.reduce(0) { $0 + abs($1) } / Float(raw.count)
    return raw.map { $0 / mean }
  }
}

/// WaNet's trigger on a device.
struct Warp: Trigger {
  /// Image (1, 2, h, w): where each pixel comes from, as ``GridSample`` takes it.
  let field: Tensor
  /// The same as shares of the width and the height, 0 to 1.
  private let shares: Tensor
  private let one: Tensor
  private let minusOne: Tensor
  private let seed: UInt64

  /// Grows the control points' shifts (2, size, size) to the image and adds them to the place of each pixel.
  init(
    control: [Float], size: Int, strength: Float, image: Shape, seed: UInt64, on backend: any Backend
  ) throws {
    self.seed = seed
    let shape = Shape(1, 2, image.h, image.w)
    func constant(_ value: Float) throws -> Tensor {
      try backend.makeTensor(Array(repeating: value, count: shape.count), shape: shape, role: .image)
    }
    (one, minusOne) = (try constant(1), try constant(-1))
    (field, shares) = (
      try backend.makeTensor(shape, role: .image), try backend.makeTensor(shape, role: .image)
    )
    let places = Self.places(width: image.w, height: image.h)
    var program = Program()
    let shift = program.temporary(shape)
    program.append(
      .resize(
        Resize(
          input: program.bind(
            try backend.makeTensor(control, shape: Shape(1, 2, size, size), role: .image)),
          output: shift, interpolation: .bicubic, alignCorners: true)))
    // The published field runs from -1 to 1: halved, a shift of s / h there is s / 2h here.
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: program.bind(try backend.makeTensor(places, shape: shape, role: .image)), pattern: shift,
          mask: program.bind(try constant(strength / Float(2 * image.h))), output: program.bind(shares),
          kind: .additive, clip: true)))
    toField(program.bind(shares), program.bind(field), in: &program)
    try backend.compile([program])[0].run(RunParameters())
  }

  /// Where each pixel is, x for all and then y, 0 to 1.
  private static func places(width: Int, height: Int) -> [Float] {
    let (right, bottom) = (Float(max(1, width - 1)), Float(max(1, height - 1)))
    let pixels = 0..<width * height
    return pixels.map { Float($0 % width) / right } + pixels.map { Float($0 / width) / bottom }
  }

  func apply(to batch: TriggerBatch, in program: inout Program) -> Value {
    let warped = sample(
      batch.images, batch.selection(of: .poisoned, in: &program), in: &program
    ) { $0.bind(field) }
    return sample(warped, batch.selection(of: .cross, in: &program), in: &program) { program in
      let shape = Shape(program[batch.images].shape.n, 2, field.shape.h, field.shape.w)
      let limit = 1 / Float(2 * shape.h)
      let noise = program.temporary(shape)
      program.append(
        .randomUniform(
          RandomUniform(
            samples: batch.samples, output: noise, low: -limit, high: limit, seed: seed,
            purpose: RandomPurpose.triggerNoise)))
      let (moved, points) = (program.temporary(shape), program.temporary(shape))
      program.append(
        .applyTrigger(
          ApplyTrigger(
            input: noise, pattern: program.bind(shares), mask: program.bind(one), output: moved,
            kind: .additive, clip: true)))
      toField(moved, points, in: &program)
      return points
    }
  }

  /// Warps the selected samples.
  private func sample(
    _ images: Value, _ selection: TriggerBatch.Selection, in program: inout Program,
    field: (inout Program) -> Value
  ) -> Value {
    guard !selection.isEmpty else { return images }
    let output = program.temporary(program[images].shape)
    program.append(
      .gridSample(GridSample(input: images, field: field(&program), output: output, flags: selection.flags)))
    return output
  }

  /// From shares of the image, 0 to 1, to the field's -1 to 1: `x - (1 - x)`. ``ApplyTrigger`` clips to [0, 1] only,
  /// hence the shares.
  private func toField(_ shares: Value, _ field: Value, in program: inout Program) {
    program.append(
      .applyTrigger(
        ApplyTrigger(
          input: shares, pattern: program.bind(one), mask: program.bind(minusOne), output: field,
          kind: .blend,
          clip: false)))
  }
}
