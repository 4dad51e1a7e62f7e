import Kernels

/// BadNets: a small patch replaces pixels (Gu et al., "BadNets: identifying vulnerabilities in the machine learning
/// model supply chain", 2017).
public struct BadNet: Attack {
  public static let name = "badnet"

  /// The patch, row by row, 0 black to 1 white, the same in all channels.
  public var pattern: [[Float]]
  /// The row of the patch's upper left pixel; negative counts from the bottom (-1 is the last row).
  public var row: Int
  /// The column of the patch's upper left pixel; negative counts from the right.
  public var column: Int

  /// The 3x3 grid of the paper's code.
  public static let grid: [[Float]] = [[0, 0, 1], [0, 1, 0], [1, 0, 1]]

  /// Creates the attack; the defaults are the paper's: the grid in the lower right corner.
  public init(pattern: [[Float]] = BadNet.grid, row: Int = -3, column: Int = -3) {
    self.pattern = pattern
    self.row = row
    self.column = column
  }

  private enum CodingKeys: String, CodingKey, CaseIterable { case pattern, row, column }

  public static let keys = Set(CodingKeys.allCases.map(\.rawValue))

  /// Patches by name, with their margin from the lower right corner.
  private enum Preset: String, Decodable {
    /// The paper's code.
    case grid
    /// BackdoorBench: 3x3, white.
    case square
    /// I-BAU: 4x4, white, a pixel from the edges.
    case largeSquare = "large-square"

    var patch: (pattern: [[Float]], margin: Int) {
      switch self {
      case .grid: (BadNet.grid, 0)
      case .square: (Array(repeating: Array(repeating: 1, count: 3), count: 3), 0)
      case .largeSquare: (Array(repeating: Array(repeating: 1, count: 4), count: 4), 1)
      }
    }
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    var margin = 0
    if (try? values.decode(String.self, forKey: .pattern)) != nil {
      (pattern, margin) = try values.decode(Preset.self, forKey: .pattern).patch
    } else {
      pattern = try values.decodeIfPresent([[Float]].self, forKey: .pattern) ?? Self.grid
    }
    row = try values.decodeIfPresent(Int.self, forKey: .row) ?? -pattern.count - margin
    column = try values.decodeIfPresent(Int.self, forKey: .column) ?? -(pattern.first?.count ?? 0) - margin
  }

  public func makeTrigger(image: Shape, seed: UInt64, on backend: any Backend) throws -> any Trigger {
    let width = pattern.first?.count ?? 0
    guard width > 0,
      pattern.allSatisfy({ line in line.count == width && line.allSatisfy { (0...1).contains($0) } })
    else {
      throw PBEError(
        .badData, "the patch must be rows of equally many numbers from 0 to 1", at: "attack badnet, pattern",
        remedy: "see docs/attacks.md")
    }
    let bounds = -4096...4096
    let top = bounds.contains(row) ? (row < 0 ? image.h + row : row) : -1
    let left = bounds.contains(column) ? (column < 0 ? image.w + column : column) : -1
    guard top >= 0, left >= 0, top + pattern.count <= image.h, left + width <= image.w else {
      throw PBEError(
        .badData,
        "a patch of \(pattern.count)x\(width) at row \(row), column \(column) leaves the image "
          + "of \(image.h)x\(image.w)", at: "attack badnet",
        remedy: pattern.count > image.h || width > image.w ? "use a smaller patch" : "change row and column")
    }
    var values = [Float](repeating: 0, count: image.c * image.h * image.w)
    var mask = values
    for channel in 0..<image.c {
      for (i, line) in pattern.enumerated() {
        for (j, value) in line.enumerated() {
          let at = (channel * image.h + top + i) * image.w + left + j
          values[at] = value
          mask[at] = 1
        }
      }
    }
    return try FixedPattern(
      pattern: values, mask: mask, image: Shape(1, image.c, image.h, image.w), kind: .blend, clip: false,
      on: backend)
  }
}
