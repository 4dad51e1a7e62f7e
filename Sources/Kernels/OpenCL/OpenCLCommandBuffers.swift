import COpenCL
import Foundation

/// Records launches once and enqueues them with one call (cl_khr_command_buffer), so that the host doesn't keep a fast
/// device waiting. Whatever fails here, the launches can be enqueued one by one.
struct OpenCLCommandBuffers: @unchecked Sendable {
  // Functions of the driver, which any thread may call.
  var functions: pbe_command_buffer_functions

  /// `nil` where the device doesn't list the extension, or lacks what it is needed for here.
  ///
  /// `PBE_GPU_COMMAND_BUFFERS=off` turns it off, `on` turns it on for CPUs too: PoCL enqueues the recorded kernels one
  /// by one, which gains nothing.
  init?(_ device: OpenCLDevice, environment: [String: String] = ProcessInfo.processInfo.environment) {
    switch environment["PBE_GPU_COMMAND_BUFFERS"] {
    case "off": return nil
    case "on": break
    default: if device.limits.isCPU { return nil }
    }
    guard device.extensions.contains("cl_khr_command_buffer"),
      // A step is enqueued again while the one before it is still under way.
      Self.bits(device, pbe_CL_DEVICE_COMMAND_BUFFER_CAPABILITIES_KHR).map({
        $0 & pbe_CL_COMMAND_BUFFER_CAPABILITY_SIMULTANEOUS_USE_KHR != 0
      }) ?? false,
      // The queue is a plain one.
      Self.bits(device, pbe_CL_DEVICE_COMMAND_BUFFER_REQUIRED_QUEUE_PROPERTIES_KHR) == 0
    else { return nil }
    var found = pbe_command_buffer_functions(
      create: { _, _, _, _ in nil }, kernel: { _, _, _, _, _, _, _, _, _, _, _, _ in CL_INVALID_OPERATION },
      finalize: { _ in CL_INVALID_OPERATION }, enqueue: { _, _, _, _, _, _ in CL_INVALID_OPERATION },
      release: { _ in CL_INVALID_OPERATION })
    guard pbe_find_command_buffer_functions(device.platform, &found) != 0 else { return nil }
    functions = found
  }

  /// Records launches in order, with the arguments that they have now; `nil` for one launch alone, or when the driver
  /// refuses.
  func record(_ launches: ArraySlice<OpenCLLaunch>, on queue: OpenCLHandle) -> OpenCLRecording? {
    guard launches.count > 1 else { return nil }
    var pointer: cl_command_queue? = queue.pointer
    var status: cl_int = 0
    let properties = [
      pbe_CL_COMMAND_BUFFER_FLAGS_KHR, pbe_CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR, 0,
    ]
    guard let buffer = functions.create(1, &pointer, properties, &status) else { return nil }
    let recording = OpenCLRecording(buffer, functions)
    guard status == CL_SUCCESS else { return nil }
    do {
      for launch in launches { try launch.record(functions, buffer) }
    } catch {
      return nil
    }
    return functions.finalize(buffer) == CL_SUCCESS ? recording : nil
  }

  private static func bits(_ device: OpenCLDevice, _ name: cl_device_info) -> cl_ulong? {
    var value: cl_ulong = 0
    let status = clGetDeviceInfo(device.id, name, MemoryLayout<cl_ulong>.size, &value, nil)
    return status == CL_SUCCESS ? value : nil
  }
}

/// Launches as one command of the device.
final class OpenCLRecording {
  private let buffer: pbe_command_buffer
  private let functions: pbe_command_buffer_functions

  /// Takes ownership of `buffer`.
  init(_ buffer: pbe_command_buffer, _ functions: pbe_command_buffer_functions) {
    self.buffer = buffer
    self.functions = functions
  }

  deinit { _ = functions.release(buffer) }

  /// Enqueues the launches; false when the driver refuses.
  func enqueue(on queue: OpenCLHandle) -> Bool {
    var pointer: cl_command_queue? = queue.pointer
    return functions.enqueue(1, &pointer, buffer, 0, nil, nil) == CL_SUCCESS
  }
}
