import CKernels
import Testing

@testable import Kernels

/// Kernels that take parts of buffers.
@Suite struct KernelOffsetsTests {
  @Test func pointersMove() {
    let source = """
      // Adds.
      __attribute__((vec_type_hint(float4)))
      kernel void add(
          global const float *a, global uint *b,
          int count) {
        const int i = get_global_id(0);
      }
      float half_of(float x) { return x / 2; }
      kernel void none(int count) {}
      """
    let expected = """
      // Adds.
      __attribute__((vec_type_hint(float4)))
      kernel void add(
          global const float *a, global uint *b,
          int count, ulong a_offset, ulong b_offset) { \
      a = (global const float *)((global const uchar *)a + a_offset); \
      b = (global uint *)((global const uchar *)b + b_offset);
        const int i = get_global_id(0);
      }
      float half_of(float x) { return x / 2; }
      kernel void none(int count) {}
      """
    #expect(KernelOffsets.added(to: source) == expected)
    #expect(KernelOffsets.added(to: "float x;") == "float x;")
  }

  /// A kernel written in another way would take its buffers from their beginning.
  @Test func everyKernelIsWrittenSo() {
    for source in [
      pbe_opencl_source(), pbe_opencl_tiled_source(), pbe_opencl_winograd_source(), pbe_opencl_mma_source(),
    ].map({ String(cString: $0) }) {
      let code = source.split(separator: "\n").filter { !$0.hasPrefix("//") }.joined(separator: "\n")
      let kernels = code.split(separator: "\n").count { $0.hasPrefix("kernel") || $0.contains(" kernel ") }
      #expect(kernels > 0)
      #expect(code.components(separatedBy: "kernel void ").count - 1 == kernels)
      var pointers = 0
      // A parameter list ends at its first parenthesis.
      for piece in code.components(separatedBy: "kernel void ").dropFirst() {
        let parameters = piece.prefix { $0 != ")" }
        #expect(piece.dropFirst(parameters.count).hasPrefix(") {"))
        pointers += parameters.count { $0 == "*" }
      }
      let changed = KernelOffsets.added(to: code)
      for added in [", ulong ", "((global const uchar *)"] {
        #expect(
          changed.components(separatedBy: added).count == code.components(separatedBy: added).count + pointers
        )
      }
    }
  }
}
