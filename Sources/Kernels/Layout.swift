/// How images and filters lie in the memory of both backends: images channels-last (NHWC), filters as RSCK
/// (kernel row, kernel column, input channel, output channel).
///
/// Channels last makes every per-channel operation a vector operation, and a convolution a matrix product without
/// rearranging its output. Nothing above ``Backend`` may depend on it: `write` and `read` convert.
enum Layout {
  /// Rearranges logical NCHW (OIHW for filters) elements into the device's order.
  static func toDevice<T>(_ values: [T], shape: Shape, role: TensorRole) -> [T] {
    permute(values, shape: shape, role: role, toDevice: true)
  }

  /// Rearranges the device's order into logical NCHW (OIHW for filters).
  static func toHost<T>(_ values: [T], shape: Shape, role: TensorRole) -> [T] {
    permute(values, shape: shape, role: role, toDevice: false)
  }

  private static func permute<T>(_ values: [T], shape: Shape, role: TensorRole, toDevice: Bool) -> [T] {
    let (n, c, h, w) = (shape.n, shape.c, shape.h, shape.w)
    switch role {
    case .plain: return values
    case .image where c == 1 || h * w == 1: return values
    default: break
    }
    var result = values
    result.withUnsafeMutableBufferPointer { out in
      values.withUnsafeBufferPointer { source in
        for i in 0..<n {
          for j in 0..<c {
            for p in 0..<h * w {
              let host = (i * c + j) * h * w + p
              let device = role == .image ? (i * h * w + p) * c + j : (p * c + j) * n + i
              if toDevice { out[device] = source[host] } else { out[host] = source[device] }
            }
          }
        }
      }
    }
    return result
  }
}
