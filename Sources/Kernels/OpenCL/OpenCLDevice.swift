import COpenCL

/// One OpenCL device, with what the choice of kernels depends on.
struct OpenCLDevice: @unchecked Sendable {
  // Platforms and devices live as long as the process, and OpenCL's functions on them are safe on any thread.
  let platform: cl_platform_id
  let id: cl_device_id
  /// What the user sees.
  private(set) var description: DeviceDescription
  /// What the choice of kernels depends on.
  let limits: OpenCLLimits
  /// Work-items of the largest work-group.
  let largestGroup: Int
  /// Work-items of the longest work-group in each dimension.
  let largestDimensions: [Int]
  /// The extensions that it lists.
  let extensions: Set<String>
  /// Distinguishes compiled programs of different drivers.
  let fingerprint: String

  /// Every device of this machine, and why there is none.
  ///
  /// Found once, in a static: the first use of the loader and of PoCL is not safe on several threads.
  static let all: (devices: [OpenCLDevice], missing: String?) = discover()

  /// The device `opencl:0`, `opencl:1`, ... Throws `device` when there is none such or it can't be used.
  static func named(_ identifier: String) throws -> OpenCLDevice {
    guard let device = all.devices.first(where: { $0.description.identifier == identifier }) else {
      throw PBEError(
        .device, "there is no such OpenCL device" + (all.missing.map { ": \($0)" } ?? ""), at: identifier,
        remedy: "run `pbe-gpu devices`")
    }
    if let reason = device.description.unusable {
      throw PBEError(
        .device, "the device can't be used: \(reason)", at: identifier, remedy: "run `pbe-gpu devices`")
    }
    return device
  }

  private static func discover() -> (devices: [OpenCLDevice], missing: String?) {
    guard pbe_opencl_is_open() != 0 else {
      let problem = String(cString: pbe_opencl_problem())
      return ([], "no OpenCL loader: \(problem); install ocl-icd-libopencl1 and a driver")
    }
    var count: cl_uint = 0
    let status = clGetPlatformIDs(0, nil, &count)
    guard status == CL_SUCCESS, count > 0 else {
      let reason =
        status == CL_SUCCESS || status == pbe_CL_PLATFORM_NOT_FOUND_KHR ? "" : ": \(OpenCLError.name(status))"
      let remedy = "install the GPU's driver, or for the CPU pocl-opencl-icd"
      return ([], "no OpenCL platform is installed\(reason); \(remedy)")
    }
    var platforms = [cl_platform_id?](repeating: nil, count: Int(count))
    guard clGetPlatformIDs(count, &platforms, nil) == CL_SUCCESS else {
      return ([], "no OpenCL platform answers")
    }
    var found: [OpenCLDevice] = []
    for case let platform? in platforms {
      var count: cl_uint = 0
      guard clGetDeviceIDs(platform, pbe_CL_DEVICE_TYPE_ALL, 0, nil, &count) == CL_SUCCESS, count > 0 else {
        continue
      }
      var ids = [cl_device_id?](repeating: nil, count: Int(count))
      guard clGetDeviceIDs(platform, pbe_CL_DEVICE_TYPE_ALL, count, &ids, nil) == CL_SUCCESS else { continue }
      for case let id? in ids {
        found.append(OpenCLDevice(platform: platform, id: id, index: found.count))
      }
    }
    return (found, found.isEmpty ? "the installed OpenCL platforms have no device" : nil)
  }

  private init(platform: cl_platform_id, id: cl_device_id, index: Int) {
    self.platform = platform
    self.id = id
    func text(_ name: Int32) -> String {
      Self.text { clGetDeviceInfo(id, cl_device_info(name), $0, $1, $2) }
    }
    func number<T: FixedWidthInteger & BitwiseCopyable>(_ name: Int32, _ type: T.Type) -> T {
      var value: T = 0
      _ = clGetDeviceInfo(id, cl_device_info(name), MemoryLayout<T>.size, &value, nil)
      return value
    }
    func platformText(_ name: Int32) -> String {
      Self.text { clGetPlatformInfo(platform, cl_platform_info(name), $0, $1, $2) }
    }
    let type = number(CL_DEVICE_TYPE, cl_device_type.self)
    let isCPU = type & pbe_CL_DEVICE_TYPE_CPU != 0
    largestGroup = max(1, number(CL_DEVICE_MAX_WORK_GROUP_SIZE, Int.self))
    var dimensions = [Int](
      repeating: 0, count: max(3, Int(number(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, cl_uint.self))))
    _ = clGetDeviceInfo(
      id, cl_device_info(CL_DEVICE_MAX_WORK_ITEM_SIZES), MemoryLayout<Int>.stride * dimensions.count,
      &dimensions, nil)
    // What a driver doesn't tell is not limited.
    largestDimensions = dimensions.map { $0 > 0 ? $0 : .max }
    extensions = Set(text(CL_DEVICE_EXTENSIONS).split(separator: " ").map(String.init))
    let version = text(CL_DEVICE_VERSION)
    let name = text(CL_DEVICE_NAME)
    let driver = text(CL_DRIVER_VERSION)
    let platformVersion = platformText(CL_PLATFORM_VERSION)
    fingerprint = [name, version, driver, platformVersion].joined(separator: "\n")
    var unusable: String?
    if number(CL_DEVICE_AVAILABLE, cl_bool.self) == 0 {
      unusable = "its driver says that it is not available"
    } else if number(CL_DEVICE_COMPILER_AVAILABLE, cl_bool.self) == 0 {
      unusable = "its driver has no compiler"
    } else if number(CL_DEVICE_ENDIAN_LITTLE, cl_bool.self) == 0 {
      unusable = "it is big-endian"
    } else if !Self.isSupported(version) {
      unusable = "it has \(version), and OpenCL 1.2 is needed"
    } else if text(CL_DEVICE_PROFILE) != "FULL_PROFILE" {
      // There 64-bit integers, infinities and what is no number may be missing.
      unusable = "it has OpenCL's embedded profile only"
    }
    let largestAllocation = Int(clamping: number(CL_DEVICE_MAX_MEM_ALLOC_SIZE, cl_ulong.self))
    limits = OpenCLLimits(
      isCPU: isCPU, vendor: OpenCLLimits.Vendor(text(CL_DEVICE_VENDOR)),
      computeUnits: max(1, Int(number(CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint.self))),
      largestGroup: largestGroup,
      localMemory: Int(clamping: number(CL_DEVICE_LOCAL_MEM_SIZE, cl_ulong.self)),
      largestAllocation: largestAllocation)
    description = DeviceDescription(
      identifier: "opencl:\(index)", isGPU: type & pbe_CL_DEVICE_TYPE_GPU != 0, name: name,
      platform: platformText(CL_PLATFORM_NAME), driver: driver,
      version: version, computeUnits: limits.computeUnits,
      memoryByteCount: Int(clamping: number(CL_DEVICE_GLOBAL_MEM_SIZE, cl_ulong.self)),
      largestAllocation: largestAllocation,
      kernels: (try? OpenCLTuning(limits).words) ?? "PBE_GPU_KERNELS is wrong", unusable: unusable)
    description.uuid = Self.uuid(id)
    description.pci = Self.pci(id)
  }

  /// Whether `version`, "OpenCL 3.0 words", is 1.2 or later.
  static func isSupported(_ version: String) -> Bool {
    let numbers =
      version.split(separator: " ").dropFirst().first?.split(separator: ".").compactMap { Int($0) } ?? []
    return numbers.count == 2 && (numbers[0], numbers[1]) >= (1, 2)
  }

  /// Asks for a string twice: its size, then its bytes.
  private static func text(
    _ ask: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> cl_int
  ) -> String {
    var size = 0
    guard ask(0, nil, &size) == CL_SUCCESS, size > 0 else { return "" }
    var bytes = [UInt8](repeating: 0, count: size)
    guard bytes.withUnsafeMutableBytes({ ask(size, $0.baseAddress, nil) }) == CL_SUCCESS else { return "" }
    let end = bytes.firstIndex(of: 0) ?? bytes.endIndex
    let text = String(decoding: bytes[..<end], as: UTF8.self)
    return text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }
}
