import COpenCL

/// Finds out whether a device has the instructions of mma.cl, and whether they compute what they should.
///
/// The vendor's name says little: drivers and generations differ in what inline assembly they take. So a small program
/// with every instruction is compiled (the compiler keeps the answer on disk), then it multiplies small matrices whose
/// result is known.
struct TensorCoreProbe {
  let context: OpenCLContext
  let compiler: OpenCLCompiler

  /// Why the matrix units can't be used; `nil` when they can.
  func problem(_ cores: TensorCores, _ limits: OpenCLLimits) -> String? {
    guard cores.isEmulated || limits.vendor == .nvidia else {
      return "it is no NVIDIA GPU, and the kernels use NVIDIA's instructions"
    }
    if let refusal = refusal(cores) { return refusal }
    do {
      let wrong = try countWrong(cores)
      return wrong == 0 ? nil : "\(wrong) of \(Self.rows * Self.columns) elements of a test product are wrong"
    } catch {
      return "a test product failed: \((error as? PBEError)?.what ?? "\(error)")"
    }
  }

  /// Why the driver can't compile the instructions; `nil` when it can.
  func refusal(_ cores: TensorCores) -> String? { compiler.refusal(of: Self.variant(cores)) }

  // MARK: - The test product

  private static let rows = 16, columns = 8
  private static func variant(_ cores: TensorCores) -> String { cores.buildOptions + " -DMMA_PROBE" }

  /// Integers around zero.
  private static func matrix(_ count: Int, factor: Int, range: Int) -> [Float] {
    (0..<count).map { Float($0 * factor % range - range / 2) }
  }

  /// Integers a little off: rounded to nearest they are as they were, cut off they are not.
  private static func offset(_ values: [Float]) -> [Float] {
    values.enumerated().map { $1 * ($0 % 2 == 0 ? 1 - 0x1p-15 : 1 + 0x1p-15) }
  }

  /// Elements that differ from the CPU's.
  private func countWrong(_ cores: TensorCores) throws -> Int {
    let depth = 8 * cores.termsPerWord
    let left = Self.matrix(Self.rows * depth, factor: 7, range: 13)
    let right = Self.matrix(depth * Self.columns, factor: 5, range: 17)
    let unset = [Float](repeating: .nan, count: Self.rows * Self.columns)
    let buffers = try [Self.offset(left), Self.offset(right), unset].map(buffer)
    let kernel = try compiler.kernel("mma_probe", variant: Self.variant(cores))
    let plan = LaunchPlan(
      operation: 0, kernel: "mma_probe", variant: Self.variant(cores),
      arguments: [.scratch(.input), .scratch(.filter), .scratch(.partial)], global: [32], local: [32],
      isFixed: true)
    let launch = try OpenCLLaunch(plan, kernel: kernel, most: compiler.mostItems(kernel)) {
      argument in
      guard case .scratch(let place) = argument else { return nil }
      return OpenCLPart(storage: buffers[place == .input ? 0 : place == .filter ? 1 : 2], byteOffset: 0)
    }
    try launch.enqueue(RunParameters(), on: context.queue)
    var results = [Float](repeating: 0, count: Self.rows * Self.columns)
    try results.withUnsafeMutableBytes {
      try OpenCLError.check(
        clEnqueueReadBuffer(
          context.queue.pointer, buffers[2].handle.pointer, pbe_CL_TRUE, 0, $0.count, $0.baseAddress, 0, nil,
          nil),
        "clEnqueueReadBuffer")
    }
    return results.indices.count { index in
      let (row, column) = (index / Self.columns, index % Self.columns)
      var exact: Float = 0
      for k in 0..<depth { exact += left[row * depth + k] * right[k * Self.columns + column] }
      return results[index] != exact
    }
  }

  private func buffer(_ values: [Float]) throws -> OpenCLStorage {
    let storage = try OpenCLStorage(byteCount: values.count * 4, context: context)
    try values.withUnsafeBytes {
      try OpenCLError.check(
        clEnqueueWriteBuffer(
          context.queue.pointer, storage.handle.pointer, pbe_CL_TRUE, 0, $0.count, $0.baseAddress, 0, nil, nil
        ),
        "clEnqueueWriteBuffer")
    }
    return storage
  }
}
