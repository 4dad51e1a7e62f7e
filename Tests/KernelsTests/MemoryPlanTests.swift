import Testing

@testable import Kernels

@Suite struct MemoryPlanTests {
  /// The steps at which each value is touched.
  private func lifetimes(_ program: Program) -> [ClosedRange<Int>?] {
    program.values.indices.map { index in
      let touches = program.operations.indices.filter { step in
        let descriptor = program.operations[step].descriptor
        return (descriptor.reads + descriptor.writes).contains { $0.index == index }
      }
      guard let first = touches.first, let last = touches.last else { return nil }
      return first...last
    }
  }

  /// Fails unless values that live at the same time have memory of their own, within the chunks and aligned.
  private func check(_ program: Program, alignment: Int, limit: Int) -> MemoryPlan {
    let plan = MemoryPlan(program, alignment: alignment, chunkLimit: limit)
    let lives = lifetimes(program)
    for (i, value) in program.values.enumerated() {
      #expect((plan.places[i] != nil) == (value.tensor == nil && lives[i] != nil))
      guard let place = plan.places[i], let life = lives[i] else { continue }
      #expect(place.offset % alignment == 0)
      #expect(place.offset + value.byteCount <= plan.chunks[place.chunk])
      for j in 0..<i {
        guard let other = plan.places[j], let otherLife = lives[j] else { continue }
        guard other.chunk == place.chunk, otherLife.overlaps(life) else { continue }
        let (a, b) = (place.offset..<place.offset + value.byteCount, program.values[j].byteCount)
        #expect(
          !a.overlaps(other.offset..<other.offset + b), "values \(j) and \(i) share memory while both live")
      }
    }
    let largest = program.values.map(\.byteCount).max() ?? 0
    #expect(plan.chunks.allSatisfy { $0 <= max(limit, (largest + alignment - 1) / alignment * alignment) })
    return plan
  }

  /// A chain of copies: only two temporaries live at a time.
  private func chain(_ length: Int, _ shape: Shape) -> Program {
    var program = Program()
    var current = program.temporary(shape)
    program.append(.fill(Fill(output: current, value: 1)))
    for _ in 0..<length {
      let next = program.temporary(shape)
      program.append(.copy(Copy(input: current, output: next)))
      current = next
    }
    return program
  }

  @Test func chainTakesTwoPlaces() {
    let plan = check(chain(20, Shape(1, 1000)), alignment: 64, limit: 1 << 20)
    #expect(plan.chunks == [2 * 4032])
  }

  @Test func chunkLimitIsRespected() {
    let plan = check(chain(20, Shape(1, 1000)), alignment: 64, limit: 5000)
    #expect(plan.chunks == [4032, 4032])
    // Single values that are larger than the limit still get places.
    let large = check(chain(3, Shape(1, 1000)), alignment: 64, limit: 1000)
    #expect(large.chunks.allSatisfy { $0 == 4032 })
  }

  @Test func randomPrograms() {
    var stream = PhiloxStream(seed: 4, purpose: 0)
    for _ in 0..<30 {
      var program = Program()
      var values: [Value] = []
      var total = 0
      for _ in 0..<40 {
        let shape = Shape(1, Int.random(in: 1...500, using: &stream))
        let next = program.temporary(shape)
        total += (program[next].byteCount + 127) / 128 * 128
        let reads = (0..<2).compactMap { _ in values.suffix(12).randomElement(using: &stream) }
        if reads.count == 2 {
          program.append(.add(Add(a: reads[0], b: reads[1], output: next)))
        } else {
          program.append(.fill(Fill(output: next, value: 0)))
        }
        values.append(next)
      }
      let plan = check(program, alignment: 128, limit: 1 << 20)
      #expect(plan.chunks.reduce(0, +) < total, "nothing was reused")
      _ = check(program, alignment: 128, limit: 3000)
    }
  }

  @Test func valuesThatNothingTouchesHaveNoPlace() {
    var program = Program()
    _ = program.temporary(Shape(1, 10))
    let plan = MemoryPlan(program, alignment: 64, chunkLimit: 1 << 20)
    #expect(plan.places[0] == nil)
    #expect(plan.chunks.isEmpty)
  }
}
