import Testing

@testable import Kernels

/// Work-items in parts and groups that a driver takes.
@Suite struct LaunchPartsTests {
  @Test func groupsFitEveryDimension() {
    let wide = OpenCLLaunch.MostItems(group: 1024, dimensions: [1024, 1024, 64])
    #expect(wide.shrinking([64, 4]) == [64, 4] && wide.allow([64, 4]))
    // Apple's CPU.
    let flat = OpenCLLaunch.MostItems(group: 1024, dimensions: [1024, 1, 1])
    #expect(flat.shrinking([64, 4]) == [64, 1] && !flat.allow([64, 4]) && flat.allow([256]))
    let small = OpenCLLaunch.MostItems(group: 32, dimensions: [1024, 1024, 64])
    #expect(small.shrinking([64, 4]) == [32, 1] && !small.allow([64, 4]))
  }

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
