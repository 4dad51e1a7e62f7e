import Kernels

/// A data set in a device's memory: images as uint8, labels, and which images carry the trigger.
public final class DeviceImages: Sendable {
  /// The device.
  public let backend: any Backend
  /// uint8 image (count, c, h, w).
  let images: Tensor
  /// int32 per image: the label to train with.
  let labels: Tensor
  /// int32 per image: non-zero for triggered ones; `nil` when none is.
  let flags: Tensor?
  /// Puts the trigger on flagged images.
  let trigger: (any Trigger)?
  /// The number of images.
  public var count: Int { images.shape.n }

  /// Copies a data set to the device.
  ///
  /// - Parameters:
  ///   - labels: the labels to train with; `nil` for the data set's own.
  ///   - trigger: put on the images that `isTriggered` names, each time they are loaded.
  public init(
    _ data: LabeledImages, on backend: any Backend, labels: [Int32]? = nil, isTriggered: [Bool]? = nil,
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
    flags =
      trigger == nil
      ? nil
      : try isTriggered.map { flags in
        try backend.makeTensor(flags.map { $0 ? Int32(1) : 0 }, shape: Shape(data.count, 1))
      }
  }

  /// The same images, in the same memory, with a trigger on every one.
  init(sharing other: DeviceImages, trigger: any Trigger) {
    backend = other.backend
    images = other.images
    labels = other.labels
    flags = nil
    self.trigger = trigger
  }

  /// A batch being written into a program.
  struct Batch {
    var images: Value
    var labels: Value
    var samples: Value
  }

  /// Writes the operators that load the batch at the run's row offset of `rows`: gather, convert, trigger.
  func load(_ count: Int, rows: Tensor, in program: inout Program) -> Batch {
    let samples = program.temporary(Shape(count, 1), type: .int32, role: .plain)
    program.append(.sliceRows(SliceRows(rows: program.bind(rows), output: samples)))
    func integers(_ table: Tensor) -> Value {
      let output = program.temporary(Shape(count, 1), type: .int32, role: .plain)
      program.append(
        .gatherIntegers(GatherIntegers(table: program.bind(table), rows: samples, output: output)))
      return output
    }
    let shape = images.shape
    var pictures = program.temporary(Shape(count, shape.c, shape.h, shape.w))
    program.append(
      .gatherImages(GatherImages(images: program.bind(images), rows: samples, output: pictures)))
    if let trigger {
      pictures = trigger.apply(to: pictures, flags: flags.map(integers), in: &program)
    }
    return Batch(images: pictures, labels: integers(labels), samples: samples)
  }
}

/// Random crop, rotation and flip, as the paper's code augments batches (METHOD, section 3.3).
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
