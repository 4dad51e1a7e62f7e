import Dispatch
import Foundation
import Synchronization

/// Deals blocks of work out to the processor's cores.
enum Parallel {
  /// How many threads work at once: the processors this process may run on, or `PBE_GPU_THREADS`.
  static let threads: Int = {
    if let text = ProcessInfo.processInfo.environment["PBE_GPU_THREADS"], let count = Int(text), count > 0 {
      return min(count, 1024)
    }
    return max(1, ProcessInfo.processInfo.activeProcessorCount)
  }()

  /// Calls `body(thread, block)` for every block, in any order; `thread` is in 0..<threads and belongs to one call at
  /// a time, so that it can index scratch memory.
  static func blocks(_ count: Int, _ body: (_ thread: Int, _ block: Int) -> Void) {
    guard count > 1, threads > 1 else {
      for block in 0..<count { body(0, block) }
      return
    }
    // The only place where work crosses threads. The blocks write to disjoint memory, which the compiler can't know.
    struct Work: @unchecked Sendable {
      let body: (Int, Int) -> Void
    }
    let next = Atomic(0)
    withoutActuallyEscaping(body) { body in
      let work = Work(body: body)
      DispatchQueue.concurrentPerform(iterations: min(threads, count)) { thread in
        while true {
          let block = next.wrappingAdd(1, ordering: .relaxed).oldValue
          if block >= count { return }
          work.body(thread, block)
        }
      }
    }
  }

  /// Calls `body` with ranges that cover 0..<count, each of about `grain` elements.
  static func ranges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    let grain = max(1, grain)
    blocks((count + grain - 1) / grain) { _, block in
      body(block * grain..<min(count, (block + 1) * grain))
    }
  }
}
