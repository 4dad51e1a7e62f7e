import CKernels
import COpenCL

/// Builds the variants of kernels.cl, tiled.cl, winograd.cl and mma.cl for one device, each once.
final class OpenCLCompiler {
  private let context: OpenCLContext
  private let device: OpenCLDevice
  private let cache: OpenCLProgramCache
  private var programs: [String: OpenCLHandle] = [:]
  /// Options with which the driver's compiler refused the source. Other failures may pass, for example for lack of memory.
  private var refused: Set<String> = []
  private static let common = text(pbe_opencl_source())
  /// The files that a variant needs beside kernels.cl, by the first of its options.
  private static let files = [
    "-DCOMMON=tiled": text(pbe_opencl_tiled_source()),
    "-DCOMMON=winograd": text(pbe_opencl_winograd_source()),
    "-DCOMMON=mma": text(pbe_opencl_mma_source()),
  ]

  private static func text(_ source: UnsafePointer<CChar>) -> String {
    KernelOffsets.added(to: String(cString: source))
  }

  /// Tells kernels of this version of the program from those of others.
  static let fingerprint: String = {
    let texts = [common] + files.sorted { $0.key < $1.key }.map(\.value)
    return FNV1a.hex(FNV1a.hash(texts.joined(separator: "\u{0}").utf8))
  }()

  /// The text of a variant.
  private static func source(_ variant: String) -> String {
    let first = variant.split(separator: " ").first.map(String.init) ?? ""
    return common + (files[first].map { "\n#line 1 \"\(first.dropFirst(9)).cl\"\n" + $0 } ?? "")
  }

  init(context: OpenCLContext, device: OpenCLDevice, cache: OpenCLProgramCache) {
    self.context = context
    self.device = device
    self.cache = cache
  }

  /// A new kernel object; every launch has its own, since arguments stay bound to it.
  func kernel(_ name: String, variant: String) throws -> OpenCLHandle {
    let program = try program(variant)
    var status: cl_int = 0
    let kernel = clCreateKernel(program.pointer, name, &status)
    return try OpenCLError.own(kernel, status, "clCreateKernel(\(name))") { clReleaseKernel($0) }
  }

  /// The most work-items that a work-group of `kernel` can have on the device.
  func mostItems(_ kernel: OpenCLHandle) -> OpenCLLaunch.MostItems {
    var size = 0
    let status = clGetKernelWorkGroupInfo(
      kernel.pointer, device.id, pbe_CL_KERNEL_WORK_GROUP_SIZE, MemoryLayout<Int>.size, &size, nil)
    let group = status == CL_SUCCESS && size > 0 ? min(size, device.largestGroup) : device.largestGroup
    return OpenCLLaunch.MostItems(group: group, dimensions: device.largestDimensions)
  }

  /// Why the driver can't compile a variant; `nil` when it can. A refusal is kept on disk like a program.
  func refusal(of variant: String) -> String? {
    let key = key(variant) + "\u{0}refused"
    if programs[variant] == nil, let words = cache.load(key) { return String(decoding: words, as: UTF8.self) }
    do {
      _ = try program(variant)
      return nil
    } catch {
      let words = (error as? PBEError)?.what ?? "\(error)"
      if refused.contains(Self.options(variant)) { cache.store(Array(words.utf8), key) }
      return words
    }
  }

  // Contracting a * b + c is allowed, reordering and approximations are not.
  private static func options(_ variant: String) -> String { "-cl-std=CL1.2 -cl-mad-enable \(variant)" }

  /// Everything that the binary of a variant depends on.
  private func key(_ variant: String) -> String {
    [Self.options(variant), device.fingerprint, Self.source(variant)].joined(separator: "\u{0}")
  }

  private func program(_ variant: String) throws -> OpenCLHandle {
    if let program = programs[variant] { return program }
    let options = Self.options(variant)
    let source = Self.source(variant)
    let key = key(variant)
    func cached() -> OpenCLHandle? { cache.load(key).flatMap { load($0, options) } }
    func compiled() throws -> OpenCLHandle {
      let turn = cache.turn()
      return try withExtendedLifetime(turn) {
        if let program = cached() { return program }
        let program = try build(source, options)
        if let binary = binary(of: program) { cache.store(binary, key) }
        return program
      }
    }
    let program = try cached() ?? compiled()
    programs[variant] = program
    return program
  }

  private func build(_ source: String, _ options: String) throws -> OpenCLHandle {
    var status: cl_int = 0
    let created = source.withCString { text in
      var text: UnsafePointer<CChar>? = text
      return clCreateProgramWithSource(context.handle.pointer, 1, &text, nil, &status)
    }
    let program = try OpenCLError.own(created, status, "clCreateProgramWithSource") { clReleaseProgram($0) }
    status = start(program, options)
    guard status == CL_SUCCESS else {
      if status == CL_BUILD_PROGRAM_FAILURE { refused.insert(options) }
      throw PBEError(
        .device,
        "the driver can't compile the kernels (\(OpenCLError.name(status)), \(options)): \(log(program))",
        at: device.description.identifier, remedy: "update the driver, or use another device")
    }
    return program
  }

  private func start(_ program: OpenCLHandle, _ options: String) -> cl_int {
    var id: cl_device_id? = device.id
    return clBuildProgram(program.pointer, 1, &id, options, nil, nil)
  }

  private func load(_ binary: [UInt8], _ options: String) -> OpenCLHandle? {
    var status: cl_int = 0
    var own: cl_int = 0
    let created = binary.withUnsafeBufferPointer { bytes in
      var pointer = bytes.baseAddress
      var length = bytes.count
      var id: cl_device_id? = device.id
      return clCreateProgramWithBinary(context.handle.pointer, 1, &id, &length, &pointer, &own, &status)
    }
    // Owned first: a driver may make a program of a binary that it says is none.
    guard
      let program = try? OpenCLError.own(
        created, status, "clCreateProgramWithBinary", release: { clReleaseProgram($0) }),
      own == CL_SUCCESS
    else { return nil }
    return start(program, options) == CL_SUCCESS ? program : nil
  }

  private func binary(of program: OpenCLHandle) -> [UInt8]? {
    var size = 0
    guard
      clGetProgramInfo(program.pointer, pbe_CL_PROGRAM_BINARY_SIZES, MemoryLayout<Int>.size, &size, nil)
        == CL_SUCCESS,
      size > 0
    else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    let status = bytes.withUnsafeMutableBufferPointer { buffer in
      var pointer = buffer.baseAddress
      return clGetProgramInfo(
        program.pointer, pbe_CL_PROGRAM_BINARIES, MemoryLayout<UnsafeMutablePointer<UInt8>?>.size, &pointer,
        nil)
    }
    return status == CL_SUCCESS ? bytes : nil
  }

  /// The compiler's log: its errors, or its beginning.
  private func log(_ program: OpenCLHandle) -> String {
    var size = 0
    guard
      clGetProgramBuildInfo(program.pointer, device.id, pbe_CL_PROGRAM_BUILD_LOG, 0, nil, &size)
        == CL_SUCCESS, size > 0
    else { return "no log" }
    var bytes = [UInt8](repeating: 0, count: size)
    _ = clGetProgramBuildInfo(program.pointer, device.id, pbe_CL_PROGRAM_BUILD_LOG, size, &bytes, nil)
    let lines = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self).split(whereSeparator: \.isNewline)
    let errors = lines.filter { $0.contains("error") }
    return String((errors.isEmpty ? lines : errors).prefix(5).joined(separator: " | ").prefix(600))
  }
}
