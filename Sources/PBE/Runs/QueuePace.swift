import Kernels

/// Keeps a program from running far ahead of its device. Devices take work without doing it at once; a loop that
/// only hands out work would report progress that is not made, and could not be stopped before the device has done
/// all of it. Waiting about twice a second costs nothing that can be measured.
struct QueuePace {
  private let backend: any Backend
  private let clock = ContinuousClock()
  private var last: ContinuousClock.Instant
  private var pending = 0
  private var allowed = 1

  init(_ backend: any Backend) {
    self.backend = backend
    last = clock.now
  }

  /// Counts one piece of work that was handed to the device, and waits for it if it is time to.
  mutating func handedOut() throws {
    pending += 1
    guard pending >= allowed else { return }
    try backend.synchronize()
    let seconds = (clock.now - last).seconds
    allowed = max(1, min(4 * pending, 256, Int(0.5 * Double(pending) / max(seconds, 1e-6))))
    pending = 0
    last = clock.now
  }
}
