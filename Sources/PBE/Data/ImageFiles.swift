import Dispatch
import Kernels
import Synchronization

/// Decodes many image files with all cores.
enum ImageFiles {
  /// No set of decoded images may take more memory than this.
  private static let mostBytes = 16 << 30

  /// Planar pixels of `side` x `side`, in the order of `paths`. `decode` gives a file's picture with `channels`
  /// channels, of any size.
  ///
  /// Throws what `decode` threw first (by the order of `paths`, whatever thread met its failure first), and `usage`
  /// when the set would not fit into memory.
  static func pixels(
    of paths: [String], side: Int, channels: Int, decode: @Sendable (String) throws -> Picture
  ) throws -> [UInt8] {
    let size = channels * side * side
    guard paths.count <= mostBytes / size else {
      throw PBEError(
        .usage, "\(paths.count) images of \(side) x \(side) pixels are more than \(mostBytes >> 30) GiB",
        at: "--image-size", remedy: "use a smaller one")
    }
    let part = 256
    let parts = (paths.count + part - 1) / part
    let results = Mutex([Result<[UInt8], any Error>?](repeating: nil, count: parts))
    DispatchQueue.concurrentPerform(iterations: parts) { index in
      let result = Result {
        var pixels: [UInt8] = []
        pixels.reserveCapacity(part * size)
        for path in paths[index * part..<min((index + 1) * part, paths.count)] {
          let picture = try decode(path)
          do { pixels += try picture.resized(width: side, height: side).planar } catch let error as PBEError {
            throw PBEError(.badData, error.what, at: path, remedy: "leave it out, or crop it")
          }
        }
        return pixels
      }
      results.withLock { $0[index] = result }
    }
    let finished = results.withLock { $0 }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(paths.count * size)
    for result in finished { pixels += try result?.get() ?? [] }
    return pixels
  }
}
