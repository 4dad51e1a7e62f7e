/// Where the temporaries of a ``Program`` lie: values that are never alive together share memory.
///
/// Greedy by size: each temporary, largest first, takes the lowest place that is free for as long as it lives. The
/// arena consists of chunks, since a device limits the size of one allocation.
public struct MemoryPlan: Sendable {
  /// A temporary's place.
  public struct Place: Sendable {
    /// The chunk of the arena.
    public let chunk: Int
    /// The offset in the chunk, in bytes.
    public let offset: Int
  }

  /// The place of each value; `nil` for bound tensors and values that nothing touches.
  public private(set) var places: [Place?]
  /// The size of each chunk in bytes.
  public private(set) var chunks: [Int] = []

  /// Plans a program; no chunk exceeds `chunkLimit` bytes unless a single value does.
  public init(_ program: Program, alignment: Int, chunkLimit: Int) {
    places = Array(repeating: nil, count: program.values.count)
    var lifetimes = [ClosedRange<Int>?](repeating: nil, count: program.values.count)
    for (step, operation) in program.operations.enumerated() {
      let descriptor = operation.descriptor
      for value in descriptor.reads + descriptor.writes {
        let first = lifetimes[value.index]?.lowerBound ?? step
        lifetimes[value.index] = first...step
      }
    }
    struct Placed {
      let range: Range<Int>
      let lifetime: ClosedRange<Int>
    }
    var placed: [[Placed]] = []
    let order = program.values.indices
      .filter { program.values[$0].tensor == nil && lifetimes[$0] != nil }
      .sorted { (program.values[$0].byteCount, $1) > (program.values[$1].byteCount, $0) }
    for index in order {
      guard let lifetime = lifetimes[index] else { continue }
      let size = (program.values[index].byteCount + alignment - 1) / alignment * alignment
      var place: Place?
      for chunk in placed.indices {
        var offset = 0
        let others = placed[chunk].filter { $0.lifetime.overlaps(lifetime) }
          .sorted { $0.range.lowerBound < $1.range.lowerBound }
        for other in others where other.range.upperBound > offset {
          if other.range.lowerBound >= offset + size { break }
          offset = other.range.upperBound
        }
        if offset + size <= chunkLimit {
          place = Place(chunk: chunk, offset: offset)
          break
        }
      }
      if place == nil {
        placed.append([])
        chunks.append(0)
        place = Place(chunk: placed.count - 1, offset: 0)
      }
      guard let place else { continue }
      places[index] = place
      placed[place.chunk].append(
        Placed(range: place.offset..<place.offset + size, lifetime: lifetime))
      chunks[place.chunk] = max(chunks[place.chunk], place.offset + size)
    }
  }
}
