import Foundation

/// Lets every kernel take a buffer and where in it its data begins, so that tensors can share one buffer.
///
/// OpenCL's own way, sub-buffers, ends the process on NVIDIA's driver 580 when some of one buffer are released: its record
/// of which of them covers which bytes goes wrong. So each kernel gets one more argument per pointer, after all others and
/// in the pointers' order: the offset in bytes. What the kernels' files say stays free of it.
enum KernelOffsets {
  /// The text of `source` with the arguments, and with the pointers moved by them at the start of each kernel.
  static func added(to source: String) -> String {
    let pieces = source.components(separatedBy: "kernel void ")
    return pieces[0]
      + pieces.dropFirst().map { piece in
        guard let open = piece.firstIndex(of: "("), let close = piece.firstIndex(of: ")"),
          let body = piece.firstIndex(of: "{"), open < close, close < body
        else { return "kernel void " + piece }
        let pointers = piece[piece.index(after: open)..<close].split(separator: ",").compactMap(Pointer.init)
        let arguments = pointers.map { ", ulong \($0.name)_offset" }.joined()
        let moves = pointers.map {
          " \($0.name) = (\($0.type) *)((global const uchar *)\($0.name) + \($0.name)_offset);"
        }
        // On the lines that were there: a compiler's message still names the right one.
        return "kernel void " + piece[..<close] + arguments + piece[close...body] + moves.joined()
          + piece[piece.index(after: body)...]
      }.joined()
  }

  /// A parameter such as `global const float *input`.
  private struct Pointer {
    let type: String
    let name: String

    init?(_ parameter: Substring) {
      let parts = parameter.split(separator: "*").map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
      guard parts.count == 2 else { return nil }
      (type, name) = (parts[0], parts[1])
    }
  }
}
