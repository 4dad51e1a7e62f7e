import Testing

@testable import Kernels

/// Work-items in parts that a driver takes.
@Suite struct LaunchPartsTests {
  @Test func fewGroupsStayWhole() {
    let parts = OpenCLLaunch.Part.split([64, 400, 8], by: [16, 4, 1], most: 100)
    #expect(parts == [OpenCLLaunch.Part(offset: [0, 0, 0], size: [64, 400, 8])])
  }

  @Test func manyGroupsAreSplitInEveryDimensionButTheFirst() {
    let parts = OpenCLLaunch.Part.split([1_000_000, 24, 5], by: [1, 4, 1], most: 4)
    #expect(
      parts == [
        OpenCLLaunch.Part(offset: [0, 0, 0], size: [1_000_000, 16, 4]),
        OpenCLLaunch.Part(offset: [0, 0, 4], size: [1_000_000, 16, 1]),
        OpenCLLaunch.Part(offset: [0, 16, 0], size: [1_000_000, 8, 4]),
        OpenCLLaunch.Part(offset: [0, 16, 4], size: [1_000_000, 8, 1]),
      ])
  }
}
