import Kernels

/// How those data sets are read whose files leave it open.
public struct DatasetOptions: Sendable, Equatable {
  /// Rows and columns that images of any size are scaled to (GTSRB, image folders); `nil` is 32.
  public var imageSize: Int?
  /// An image folder without `train` and `test`: the share of each class that is the test set; `nil` is 0.2.
  public var testFraction: Double?
  /// An image folder: read the images as grey, one channel.
  public var isGrey: Bool

  /// Creates options; the defaults are 32 pixels, 0.2 and colour.
  public init(imageSize: Int? = nil, testFraction: Double? = nil, isGrey: Bool = false) {
    self.imageSize = imageSize
    self.testFraction = testFraction
    self.isGrey = isGrey
  }

  /// Rows and columns of the images that are scaled.
  var side: Int { imageSize ?? 32 }
  /// The share of each class that is the test set, where it is split here.
  var testedShare: Double { testFraction ?? 0.2 }

  /// Throws `usage` for values that make no sense, and for those that `kind` has no use for.
  func check(for kind: DatasetKind) throws {
    guard (1...512).contains(side) else {
      throw PBEError(
        .usage, "images can't be scaled to \(side) pixels", at: "--image-size", remedy: "use 1 to 512")
    }
    guard testedShare > 0, testedShare < 1 else {
      throw PBEError(
        .usage, "the test fraction \(testedShare) is not between 0 and 1", at: "--test-fraction",
        remedy: "use 0.2, for example")
    }
    guard imageSize == nil || kind.isScaled else {
      throw PBEError(
        .usage, "the images of \(kind.rawValue) have one size and are not scaled", at: "--image-size",
        remedy: "leave it away")
    }
    guard testFraction == nil || kind == .folder else {
      throw PBEError(
        .usage, "\(kind.rawValue) has a test set of its own", at: "--test-fraction", remedy: "leave it away")
    }
    guard !isGrey || kind == .folder else {
      throw PBEError(.usage, "only an image folder is read as grey", at: "--grey", remedy: "leave it away")
    }
  }
}
