import Kernels

/// A data set in a device's memory: images as uint8, labels, and each image's role in a poisoned training set.
public final class DeviceImages: Sendable {
  /// The device.
  public let backend: any Backend
  /// uint8 image (count, c, h, w).
  let images: Tensor
  /// int32 per image: the label to train with.
  let labels: Tensor
  /// Puts the trigger on images, each time they are loaded.
  private let trigger: (any Trigger)?
  private let roles: Roles

  private enum Roles {
    case all(ImageRole)
    /// int32 per image.
    case each(Tensor, RoleTables)
  }

  /// int32 per image: the index of another image, its partner.
  private let partners: Tensor?

  /// The number of images.
  public var count: Int { images.shape.n }

  /// Copies a data set to the device.
  ///
  /// - Parameters:
  ///   - labels: the labels to train with; `nil` for the data set's own.
  ///   - roles: what each image is to the trigger; `nil` makes all of them poisoned ones.
  ///   - trigger: put on the images by their roles, each time they are loaded.
  public init(
    _ data: LabeledImages, on backend: any Backend, labels: [Int32]? = nil, roles: [ImageRole]? = nil,
    trigger: (any Trigger)? = nil
  ) throws {
    guard data.count > 0 else {
      throw PBEError(.badData, "the data set is empty", at: data.name)
    }
    self.backend = backend
    let shape = Shape(data.count, data.channels, data.height, data.width)
    guard shape.count <= backend.largestAllocation else {
      throw PBEError(
        .device, "\(data.name) takes \(shape.count >> 20) MiB, more than the device allows in one piece",
        at: backend.device.identifier, remedy: "use --limit")
    }
    images = try backend.makeTensor(data.pixels, shape: shape, role: .image)
    self.labels = try backend.makeTensor(labels ?? data.labels, shape: Shape(data.count, 1))
    self.trigger = trigger
    partners = try trigger.map { _ in try Self.partners(data.count, on: backend) }
    self.roles =
      try roles.map { roles in
        .each(
          try backend.makeTensor(roles.map(\.rawValue), shape: Shape(data.count, 1)),
          try RoleTables(on: backend))
      } ?? .all(.poisoned)
  }

  /// The same images, in the same memory, all in one role.
  public init(sharing other: DeviceImages, trigger: any Trigger, as role: ImageRole) throws {
    backend = other.backend
    images = other.images
    labels = other.labels
    self.trigger = trigger
    partners = try other.partners ?? Self.partners(other.count, on: other.backend)
    roles = .all(role)
  }

  /// The same images, in the same memory, with the same triggers on them, but other labels to train with.
  public init(sharing other: DeviceImages, labels: [Int32]) throws {
    backend = other.backend
    images = other.images
    self.labels = try backend.makeTensor(labels, shape: Shape(other.count, 1))
    trigger = other.trigger
    partners = other.partners
    roles = other.roles
  }

  /// Everyone's partner: the next on one round through all images, in an order that depends on their number only.
  private static func partners(_ count: Int, on backend: any Backend) throws -> Tensor {
    let order = Permutation.of(count, seed: 0, purpose: RandomPurpose.partner)
    var partners = [Int32](repeating: 0, count: count)
    for (position, image) in order.enumerated() {
      partners[image] = Int32(order[(position + 1) % count])
    }
    return try backend.makeTensor(partners, shape: Shape(count, 1))
  }

  /// A batch being written into a program.
  struct Batch {
    var images: Value
    var labels: Value
    var samples: Value
  }

  /// Writes the operators that load the batch at the run's row offset of `rows`: gather, convert, trigger.
  func load(_ count: Int, rows: Tensor, in program: inout Program) throws -> Batch {
    let samples = program.temporary(Shape(count, 1), type: .int32, role: .plain)
    program.append(.sliceRows(SliceRows(rows: program.bind(rows), output: samples)))
    var pictures = gather(samples, in: &program)
    if let trigger {
      let partners: ((inout Program) -> Value)? = partners.map { table in
        { program in self.gather(Self.gather(table, samples, in: &program), in: &program) }
      }
      let roles: TriggerBatch.Roles
      switch self.roles {
      case .all(let role): roles = .all(role)
      case .each(let table, let flags): roles = .each(Self.gather(table, samples, in: &program), flags)
      }
      pictures = try trigger.apply(
        to: TriggerBatch(images: pictures, samples: samples, roles: roles, partners: partners), in: &program)
    }
    return Batch(images: pictures, labels: Self.gather(labels, samples, in: &program), samples: samples)
  }

  /// The same, and then augmented as `settings` say.
  func load(
    _ count: Int, rows: Tensor, augmentedBy settings: TrainingSettings, in program: inout Program
  ) throws -> Batch {
    var batch = try load(count, rows: rows, in: &program)
    if let augmentation = settings.augmentation {
      batch.images = augmentation.apply(
        to: batch.images, samples: batch.samples, seed: settings.seed, in: &program)
    }
    return batch
  }

  /// Images as a model gets them, with their triggers, on the host: float32 NCHW pixels in [0, 1]. Throws `device` when
  /// there is not enough memory.
  ///
  /// - Parameter indices: which images; by default all.
  public func pixels(_ indices: [Int]? = nil) throws -> [Float] {
    let indices = indices ?? Array(0..<count)
    let batch = min(256, indices.count)
    var shape = images.shape
    shape.n = indices.count
    let table = try backend.makeTensor(shape, role: .image)
    let rows = try backend.makeTensor(indices.map { Int32($0) }, shape: Shape(indices.count, 1))
    var program = Program()
    let loaded = try load(batch, rows: rows, in: &program)
    program.append(.storeRows(StoreRows(input: loaded.images, table: program.bind(table))))
    let executable = try backend.compile([program])[0]
    for first in stride(from: 0, to: indices.count, by: batch) {
      try executable.run(RunParameters(rowOffset: Int32(first)))
    }
    return try backend.read(table)
  }

  /// The images at `rows`, as floats.
  private func gather(_ rows: Value, in program: inout Program) -> Value {
    let output = program.temporary(
      Shape(program[rows].shape.n, images.shape.c, images.shape.h, images.shape.w))
    program.append(.gatherImages(GatherImages(images: program.bind(images), rows: rows, output: output)))
    return output
  }

  /// The integers of a table at `rows`.
  private static func gather(_ table: Tensor, _ rows: Value, in program: inout Program) -> Value {
    let output = program.temporary(program[rows].shape, type: .int32, role: .plain)
    program.append(
      .gatherIntegers(GatherIntegers(table: program.bind(table), rows: rows, output: output)))
    return output
  }
}

/// Random crop, rotation and flip, as the paper's code augments batches (its PostTensorTransform).
public struct Augmentation: Hashable, Sendable, Codable {
  /// The largest shift in pixels.
  public var cropPadding = 5
  /// The probability that a batch is cropped.
  public var cropProbability: Float = 0.8
  /// The largest rotation in degrees.
  public var rotationDegrees: Float = 10
  /// The probability that a batch is rotated.
  public var rotationProbability: Float = 0.5
  /// The probability that an image of a rotated batch is rotated.
  public var sampleRotationProbability: Float = 0.5
  /// The probability that an image is mirrored.
  public var flipProbability: Float = 0.5

  /// The paper's augmentation; `flips` is for data sets whose classes survive a mirror (CIFAR-10).
  public init(flips: Bool) { flipProbability = flips ? 0.5 : 0 }

  /// Writes the operator.
  func apply(to images: Value, samples: Value, seed: UInt64, in program: inout Program) -> Value {
    let output = program.temporary(program[images].shape)
    program.append(
      .augment(
        Augment(
          input: images, samples: samples, output: output, padding: cropPadding,
          cropProbability: cropProbability, degrees: rotationDegrees,
          rotationProbability: rotationProbability,
          sampleRotationProbability: sampleRotationProbability, flipProbability: flipProbability, seed: seed,
          purpose: RandomPurpose.augmentation)))
    return output
  }
}
