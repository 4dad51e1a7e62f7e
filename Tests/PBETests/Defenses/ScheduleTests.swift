import PBE
import Testing

struct ScheduleTests {
  @Test(arguments: [
    (Schedule.constant, 0.0, Float(1)), (.constant, 0.99, 1), (.cosine, 0, 1), (.cosine, 0.5, 0.5),
    (.cosine, 1, 0),
    (.multistep, 0.49, 1), (.multistep, 0.5, 0.1), (.multistep, 0.75, 0.01), (.oneCycle, 0, 0.04),
    // Half of the way up: between a 25th and the whole.
    (.oneCycle, 0.15, 0.52), (.oneCycle, 0.3, 1), (.oneCycle, 0.65, 0.5), (.oneCycle, 1, 1e-6),
  ]) func rate(schedule: Schedule, share: Double, expected: Float) {
    #expect(abs(schedule.rate(0.2, share: share) - 0.2 * expected) < 2e-7)
  }
}
