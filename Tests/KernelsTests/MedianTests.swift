import Kernels
import Testing

@Suite struct MedianTests {
  @Test func middleOfValues() {
    #expect([3.0].median == 3 && [9.0, 1, 2].median == 2)
    #expect([8.0, 1, 2, 4].median == 3 && [Float(2), 1].median == 1.5)
    #expect([Double]().median.isNaN)
  }
}
