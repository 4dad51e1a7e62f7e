import Foundation
import Kernels

/// A tensor of a golden file.
public struct GoldenTensor: Sendable {
  /// The extents.
  public let shape: [Int]
  /// The elements, row-major; integers exactly.
  public let values: [Double]
  /// The elements are integers (labels).
  public let isInteger: Bool

  /// The extents as a device's shape: a vector is one of channels, missing extents are 1.
  public var deviceShape: Shape {
    switch shape.count {
    case 0: .vector(1)
    case 1: .vector(shape[0])
    case 2: Shape(shape[0], shape[1])
    case 3: Shape(shape[0], shape[1], shape[2])
    default: Shape(shape[0], shape[1], shape[2], shape[3])
    }
  }
}

/// A minimal reader of safetensors for golden files, which this project's own tools write; models come through the
/// general reader.
enum GoldenReader {
  private struct Entry: Decodable {
    let dtype: String
    let shape: [Int]
    let offsets: [Int]

    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }
  }

  /// Every tensor of a file of F32, F64 and I64 tensors. Throws `badData` when it is anything else.
  static func read(_ data: Data, name: String) throws -> [String: GoldenTensor] {
    func bad(_ what: String) -> PBEError { PBEError(.badData, what, at: name) }
    let bytes = [UInt8](data)
    guard bytes.count >= 8 else { throw bad("the golden file is shorter than its header") }
    let length = bytes[0..<8].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(bytes.count - 8) else { throw bad("the golden file is shorter than its header") }
    let start = 8 + Int(length)
    guard let header = try? JSONDecoder().decode([String: Entry].self, from: Data(bytes[8..<start])) else {
      throw bad("the golden file's header can't be read")
    }
    return try header.mapValues { entry in
      let width = entry.dtype == "F32" ? 4 : 8
      guard ["F32", "F64", "I64"].contains(entry.dtype), entry.offsets.count == 2,
        entry.offsets[0] >= 0, entry.offsets[0] <= entry.offsets[1],
        entry.offsets[1] <= bytes.count - start, entry.shape.allSatisfy({ $0 >= 0 && $0 < 1 << 14 }),
        entry.shape.count <= 4,
        entry.shape.reduce(width, *) == entry.offsets[1] - entry.offsets[0]
      else { throw bad("the golden file holds a tensor that its reader doesn't know") }
      let values = stride(from: start + entry.offsets[0], to: start + entry.offsets[1], by: width).map { i in
        let word = bytes[i..<i + width].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        return switch entry.dtype {
        case "F32": Double(Float(bitPattern: UInt32(truncatingIfNeeded: word)))
        case "F64": Double(bitPattern: word)
        default: Double(Int64(bitPattern: word))
        }
      }
      return GoldenTensor(shape: entry.shape, values: values, isInteger: entry.dtype == "I64")
    }
  }
}
