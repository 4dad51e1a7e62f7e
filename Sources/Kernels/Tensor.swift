/// The logical shape of a tensor: NCHW for images, OIHW for filters, `(rows, columns, 1, 1)` for matrices and
/// `(1, count, 1, 1)` for vectors of channels.
public struct Shape: Hashable, Sendable, CustomStringConvertible {
  /// Samples of a batch; output channels of a filter.
  public var n: Int
  /// Channels; input channels per group of a filter.
  public var c: Int
  /// Rows of pixels.
  public var h: Int
  /// Columns of pixels.
  public var w: Int

  /// Creates a shape; the spatial extents default to one pixel.
  public init(_ n: Int, _ c: Int, _ h: Int = 1, _ w: Int = 1) {
    self.n = n
    self.c = c
    self.h = h
    self.w = w
  }

  /// A vector of `count` elements, one per channel: `(1, count, 1, 1)`.
  public static func vector(_ count: Int) -> Shape { Shape(1, count) }

  /// The number of elements.
  public var count: Int { n * c * h * w }
  /// The number of pixels of all samples: the rows of the matrix that the channels-last layout is.
  public var pixels: Int { n * h * w }
  /// `n x c x h x w`.
  public var description: String { "\(n)x\(c)x\(h)x\(w)" }
}

/// The type of a tensor's elements.
public enum ElementType: String, Sendable {
  case float32, int32, uint8

  /// Bytes per element.
  public var byteCount: Int { self == .uint8 ? 1 : 4 }
}

/// What a tensor holds, and so how a backend may lay it out in its memory.
public enum TensorRole: Sendable {
  /// Images or activations: logically NCHW.
  case image
  /// Convolution weights: logically OIHW.
  case filter
  /// Anything else: row-major as written.
  case plain
}

/// Memory of one device. Concrete types belong to their backends.
public protocol Storage: AnyObject, Sendable {
  /// The size in bytes.
  var byteCount: Int { get }
}

/// A block of device memory with a shape: model weights, a data set, optimizer state. It lives as long as the
/// host holds it; temporaries of a step are ``Value``s of a ``Program`` instead.
public final class Tensor: Sendable {
  /// The logical shape.
  public let shape: Shape
  /// The type of the elements.
  public let type: ElementType
  /// What it holds.
  public let role: TensorRole
  /// The device memory that holds it.
  public let storage: any Storage
  /// Where it begins in `storage`, in bytes.
  public let byteOffset: Int

  /// Places a tensor in `storage` at `byteOffset`, a multiple of the backend's ``Backend/alignment``.
  public init(
    shape: Shape, type: ElementType = .float32, role: TensorRole = .plain, storage: any Storage,
    byteOffset: Int = 0
  ) {
    self.shape = shape
    self.type = type
    self.role = role
    self.storage = storage
    self.byteOffset = byteOffset
  }

  /// The size in bytes.
  public var byteCount: Int { shape.count * type.byteCount }
}
