import Foundation
import Kernels

extension CPURoofline {
  /// Prints the machine's limits and a line per phase.
  func printTable() throws {
    try Output.line(
      String(
        format:
          "peak %.0f GFLOP/s (float32 multiply-adds in registers), memory %.1f GB/s (sum of two arrays)",
        peak / 1e9, bandwidth / 1e9))
    try Output.table(
      [
        [
          "phase", "GFLOP", "MB", "bound ms", "by", "ms", "of bound", "GFLOP/s", "of peak",
          "effective of peak",
        ]
      ]
        + lines.map { line in
          [
            line.name, String(format: "%.3f", line.flops / 1e9), String(format: "%.1f", line.bytes / 1e6),
            String(format: "%.3f", line.bound * 1e3), line.isComputeBound ? "compute" : "memory",
            String(format: "%.3f", line.seconds * 1e3), percent(line.bound / line.seconds),
            String(format: "%.0f", line.flops / line.seconds / 1e9),
            percent(line.flops / line.seconds / peak),
            percent(line.directFlops / line.seconds / peak),
          ]
        })
  }

  private func percent(_ share: Double) -> String { String(format: "%.0f%%", 100 * share) }
}
