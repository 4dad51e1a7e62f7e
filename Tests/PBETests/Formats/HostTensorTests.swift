import Testing

@testable import PBE

@Suite("Host tensors")
struct HostTensorTests {
  private func floats(_ type: HostTensor.ElementType, _ bytes: [UInt8]) -> [Float] {
    HostTensor(type: type, shape: [bytes.count / type.byteCount], bytes: bytes).floats()
  }

  @Test("half precision: zero, subnormal, normal, infinite, not a number")
  func halfPrecision() {
    let cases: [(UInt16, Float)] = [
      (0x0000, 0), (0x0001, 0x1p-24), (0x83ff, -0x3ffp-24), (0x0400, 0x1p-14), (0x3c00, 1), (0xc000, -2),
      (0x3555, 0.333251953125), (0x7bff, 65504), (0x7c00, .infinity), (0xfc00, -.infinity),
    ]
    for (bits, value) in cases { #expect(floats(.float16, TestFiles.little(bits)) == [value]) }
    #expect(floats(.float16, [0, 0x80])[0].sign == .minus)
    #expect(floats(.float16, [1, 0x7e])[0].isNaN)
  }

  @Test("the other types")
  func otherTypes() {
    #expect(floats(.bfloat16, [0x80, 0x3f, 0x20, 0xc0]) == [1, -2.5])
    #expect(floats(.float64, TestFiles.little((0.1).bitPattern)) == [0.1])
    #expect(floats(.float64, TestFiles.little((1e300).bitPattern)) == [.infinity])
    #expect(floats(.int64, TestFiles.little(Int64.min)) == [-0x1p63])
    #expect(floats(.uint8, [255]) == [255])
    #expect(floats(.int8, [255]) == [-1])
    #expect(floats(.bool, [0, 1, 2]) == [0, 1, 1])
    let tensor = HostTensor([1, -2.5, .infinity], shape: [1, 3])
    #expect(tensor.type == .float32 && tensor.count == 3 && tensor.floats() == [1, -2.5, .infinity])
  }

  @Test("sizes never overflow")
  func sizes() {
    #expect(HostTensor.byteCount(of: .float32, shape: []) == 4)
    #expect(HostTensor.byteCount(of: .float64, shape: [2, 3]) == 48)
    #expect(HostTensor.byteCount(of: .bool, shape: [5, 0]) == 0)
    #expect(HostTensor.byteCount(of: .bool, shape: [.max]) == .max)
    #expect(HostTensor.byteCount(of: .int16, shape: [.max]) == nil)
    #expect(HostTensor.byteCount(of: .bool, shape: [.max, 2, 0]) == nil)
    #expect(HostTensor.byteCount(of: .bool, shape: [-1]) == nil)
  }

  @Test("a state dictionary keeps its order")
  func stateDictionary() {
    var state = StateDictionary()
    for name in ["module.b", "module.a"] { state[name] = HostTensor([1], shape: [1]) }
    state["module.b"] = HostTensor([2], shape: [1])
    #expect(state.names == ["module.b", "module.a"])
    #expect(state.removingCommonPrefix("module.").names == ["b", "a"])
    state["c"] = HostTensor([3], shape: [1])
    #expect(state.removingCommonPrefix("module.") == state)
    state["module.b"] = nil
    #expect(state.entries.map(\.name) == ["module.a", "c"])
  }
}
