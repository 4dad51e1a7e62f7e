import Testing

@testable import Kernels

@Suite struct LayoutTests {
  @Test(arguments: [
    Shape(2, 3, 4, 5), Shape(1, 1, 3, 3), Shape(4, 7, 1, 1), Shape(3, 16, 1, 6), Shape(1, 1, 1, 1),
  ])
  func roundTrip(_ shape: Shape) {
    let values = Array(0..<shape.count)
    for role in [TensorRole.image, .filter, .plain] {
      let device = Layout.toDevice(values, shape: shape, role: role)
      #expect(device.sorted() == values)
      #expect(Layout.toHost(device, shape: shape, role: role) == values)
    }
  }

  @Test func channelsLast() {
    let shape = Shape(2, 3, 4, 5)
    let device = Layout.toDevice(Array(0..<shape.count), shape: shape, role: .image)
    // n 1, c 2, h 3, w 4
    let (pixel, element): (Int, Int) = ((1 * 4 + 3) * 5 + 4, ((1 * 3 + 2) * 4 + 3) * 5 + 4)
    #expect(device[pixel * 3 + 2] == element)
  }

  @Test func filtersAreRSCK() {
    let shape = Shape(6, 3, 2, 5)
    let device = Layout.toDevice(Array(0..<shape.count), shape: shape, role: .filter)
    // k 4, c 2, r 1, s 3
    let (tap, element): (Int, Int) = (1 * 5 + 3, ((4 * 3 + 2) * 2 + 1) * 5 + 3)
    #expect(device[(tap * 3 + 2) * 6 + 4] == element)
  }

  @Test func plainStays() {
    #expect(Layout.toDevice([1, 2, 3, 4], shape: Shape(2, 2), role: .plain) == [1, 2, 3, 4])
  }
}
