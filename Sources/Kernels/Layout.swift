/// How images and filters lie in the memory of both backends: images channels-last (NHWC), filters as RSCK
/// (kernel row, kernel column, input channel, output channel).
///
/// Channels last makes every per-channel operation a vector operation, and a convolution a matrix product without
/// rearranging its output. Nothing above ``Backend`` may depend on it: `write` and `read` convert.
enum Layout {
  /// Rearranges logical NCHW (OIHW for filters) elements into the device's order.
  static func toDevice<T>(_ values: [T], shape: Shape, role: TensorRole) -> [T] {
    switch role {
    case .plain: values
    // Per image, channels x pixels becomes pixels x channels.
    case .image: transpose(values, blocks: shape.n, rows: shape.c, columns: shape.h * shape.w)
    // Per output, inputs x taps becomes taps x inputs; then outputs go last.
    case .filter:
      transpose(
        transpose(values, blocks: shape.n, rows: shape.c, columns: shape.h * shape.w), blocks: 1,
        rows: shape.n,
        columns: shape.c * shape.h * shape.w)
    }
  }

  /// Rearranges the device's order into logical NCHW (OIHW for filters).
  static func toHost<T>(_ values: [T], shape: Shape, role: TensorRole) -> [T] {
    switch role {
    case .plain: values
    case .image: transpose(values, blocks: shape.n, rows: shape.h * shape.w, columns: shape.c)
    case .filter:
      transpose(
        transpose(values, blocks: 1, rows: shape.c * shape.h * shape.w, columns: shape.n), blocks: shape.n,
        rows: shape.h * shape.w, columns: shape.c)
    }
  }

  /// Transposes each of `blocks` matrices of rows x columns.
  private static func transpose<T>(_ values: [T], blocks: Int, rows: Int, columns: Int) -> [T] {
    if rows == 1 || columns == 1 { return values }
    var result = values
    result.withUnsafeMutableBufferPointer { out in
      values.withUnsafeBufferPointer { source in
        for block in 0..<blocks {
          let start = block * rows * columns
          for i in 0..<rows {
            for j in 0..<columns { out[start + j * rows + i] = source[start + i * columns + j] }
          }
        }
      }
    }
    return result
  }
}
