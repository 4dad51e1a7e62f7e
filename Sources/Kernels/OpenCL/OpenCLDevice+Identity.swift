import COpenCL
import Foundation

/// Which of several like devices it is, by the extensions of OpenCL that tell. Devices without them refuse the question.
extension OpenCLDevice {
  /// The UUID (cl_khr_device_uuid), 32 hexadecimal digits.
  static func uuid(_ id: cl_device_id) -> String? {
    // CL_DEVICE_UUID_KHR
    words(id, 0x106A, count: 4).map { words in
      words.map { String(format: "%08x", $0.bigEndian) }.joined()
    }
  }

  /// The place on the PCI bus as Linux writes it, `0000:3b:00.0`.
  static func pci(_ id: cl_device_id) -> String? {
    func text(_ domain: UInt32, _ bus: UInt32, _ device: UInt32, _ function: UInt32) -> String {
      String(format: "%04x:%02x:%02x.%x", domain, bus, device, function)
    }
    // CL_DEVICE_PCI_BUS_INFO_KHR (cl_khr_pci_bus_info): domain, bus, device, function.
    if let info = words(id, 0x410F, count: 4) { return text(info[0], info[1], info[2], info[3]) }
    // NVIDIA's CL_DEVICE_PCI_BUS_ID_NV and CL_DEVICE_PCI_SLOT_ID_NV (device and function), CL_DEVICE_PCI_DOMAIN_ID_NV.
    guard let bus = words(id, 0x4008, count: 1), let slot = words(id, 0x4009, count: 1) else { return nil }
    return text(words(id, 0x400A, count: 1)?[0] ?? 0, bus[0], slot[0] >> 3, slot[0] & 7)
  }

  private static func words(_ id: cl_device_id, _ name: cl_device_info, count: Int) -> [UInt32]? {
    var words = [UInt32](repeating: 0, count: count)
    let size = 4 * count
    let status = words.withUnsafeMutableBytes { clGetDeviceInfo(id, name, size, $0.baseAddress, nil) }
    return status == CL_SUCCESS ? words : nil
  }
}
