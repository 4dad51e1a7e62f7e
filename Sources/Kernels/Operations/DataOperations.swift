/// The rows of a batch: `output[i] = rows[rowOffset + i]`, with the row offset of this run; past the end of `rows`, its
/// last element.
public struct SliceRows: OperationDescriptor {
  /// int32, any count: sample indices in the order of the epoch.
  public var rows: Value
  /// int32, one per sample of the batch.
  public var output: Value

  /// Creates the operator.
  public init(rows: Value, output: Value) {
    self.rows = rows
    self.output = output
  }

  public var reads: [Value] { [rows] }
  public var writes: [Value] { [output] }
}

/// `output[i] = images[rows[i]] / 255`.
public struct GatherImages: OperationDescriptor {
  /// uint8 image (count, c, h, w).
  public var images: Value
  /// int32, one per sample of the batch, in 0..<count.
  public var rows: Value
  /// float32 image (n, c, h, w).
  public var output: Value

  /// Creates the operator.
  public init(images: Value, rows: Value, output: Value) {
    self.images = images
    self.rows = rows
    self.output = output
  }

  public var reads: [Value] { [images, rows] }
  public var writes: [Value] { [output] }
}

/// `output[i] = table[rows[i]]`: labels, flags.
public struct GatherIntegers: OperationDescriptor {
  /// int32, one per sample of the data set.
  public var table: Value
  /// int32, one per sample of the batch.
  public var rows: Value
  /// int32, one per sample of the batch.
  public var output: Value

  /// Creates the operator.
  public init(table: Value, rows: Value, output: Value) {
    self.table = table
    self.rows = rows
    self.output = output
  }

  public var reads: [Value] { [table, rows] }
  public var writes: [Value] { [output] }
}

/// Writes a batch's rows into a table: `table[rowOffset + i] = input[i]`, with the row offset of this run. Rows past
/// the table's end are dropped.
public struct StoreRows: OperationDescriptor {
  /// float32 or int32 (n, columns, 1, 1).
  public var input: Value
  /// The same type, (count, columns, 1, 1).
  public var table: Value

  /// Creates the operator.
  public init(input: Value, table: Value) {
    self.input = input
    self.table = table
  }

  public var reads: [Value] { [input] }
  public var writes: [Value] { [table] }
}

/// Random crop, rotation and flip in one resampling pass (PostTensorTransform in the paper's code).
///
/// All draws are functions of the run's epoch and step and of each sample's index. With
/// `g = philox(counter: (step, 0, epoch, purpose), key: seed)` as uniform numbers, the batch is cropped when
/// `g[0] < cropProbability` and rotated when `g[1] < rotationProbability`. With
/// `a = philox(counter: (0, sample, epoch, purpose + 1), key: seed)` and
/// `b = philox(counter: (1, sample, epoch, purpose + 1), key: seed)`, a cropped sample is shifted by
/// `dy = floor(a[0] * (2 * padding + 1)) - padding` and `dx` likewise from `a[1]`; flipped when
/// `a[2] < flipProbability`; rotated, when `b[0] < sampleRotationProbability`, by
/// `degrees * (2 * a[3] - 1)` counter-clockwise.
///
/// Output pixel (i, j) takes, after mirroring j for a flip, the bilinear value at the point turned about the image's
/// centre, of the image shifted by (dy, dx): `shifted(i, j) = input(i + dy, j + dx)`, zero outside. A sample that is
/// not rotated is copied exactly.
///
/// With `c = ((h - 1) / 2, (w - 1) / 2)`, `u = j - cx`, `v = i - cy` and angle t, the source point is
/// `x = cx + cos(t) * u - sin(t) * v`, `y = cy + sin(t) * u + cos(t) * v`.
public struct Augment: OperationDescriptor {
  /// Image (n, c, h, w).
  public var input: Value
  /// int32 per sample: its index in the data set.
  public var samples: Value
  /// Image (n, c, h, w); not the input.
  public var output: Value
  /// The largest shift in pixels.
  public var padding: Int
  /// The batch's probability of being cropped.
  public var cropProbability: Float
  /// The largest angle.
  public var degrees: Float
  /// The batch's probability of being rotated.
  public var rotationProbability: Float
  /// A sample's probability of being rotated in a rotated batch.
  public var sampleRotationProbability: Float
  /// A sample's probability of being mirrored.
  public var flipProbability: Float
  /// The key of the random numbers.
  public var seed: UInt64
  /// A word of the counter; `purpose + 1` is used too.
  public var purpose: UInt32

  /// Creates the operator.
  public init(
    input: Value, samples: Value, output: Value, padding: Int, cropProbability: Float, degrees: Float,
    rotationProbability: Float, sampleRotationProbability: Float, flipProbability: Float, seed: UInt64,
    purpose: UInt32
  ) {
    self.input = input
    self.samples = samples
    self.output = output
    self.padding = padding
    self.cropProbability = cropProbability
    self.degrees = degrees
    self.rotationProbability = rotationProbability
    self.sampleRotationProbability = sampleRotationProbability
    self.flipProbability = flipProbability
    self.seed = seed
    self.purpose = purpose
  }

  public var reads: [Value] { [input, samples] }
  public var writes: [Value] { [output] }
}
