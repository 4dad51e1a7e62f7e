import Kernels

/// The two file formats of `torch.save`.
enum TorchCheckpoint {
  /// The largest pickle accepted, in bytes; it names the tensors and doesn't hold their elements.
  static let pickleLimit = 1 << 26

  /// 0x1950a86a20f9469cfc6c, the first object of a file before PyTorch 1.6, as pickle writes it.
  static let magic: [UInt8] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]

  /// Whether the bytes start with a pickle of the magic number.
  static func matchesOldFormat(_ bytes: [UInt8]) -> Bool {
    guard bytes.first == 0x80 else { return false }
    let head = bytes.prefix(32)
    return head.indices.contains { head[$0...].starts(with: magic) }
  }

  private static let copyAgain = "the checkpoint is damaged; copy or download it again"

  // MARK: - PyTorch 1.6 and newer

  /// Reads a zip archive with the members `NAME/data.pkl` and `NAME/data/KEY`.
  static func readArchive(_ bytes: [UInt8], place: String) throws -> StateDictionary {
    var archive = try ZipArchive(bytes, place: place)
    let root = try rootName(archive, place: place)
    if let order = try archive.contents("\(root)byteorder"), !order.elementsEqual("little".utf8) {
      throw PBEError(
        .badData, "the checkpoint was saved on a machine of big-endian byte order", at: place,
        remedy: "load and save it on a little-endian machine")
    }
    guard let pickled = try archive.contents("\(root)data.pkl") else {
      throw PBEError(
        .badData, "the zip archive has no \(root.printable())data.pkl", at: place,
        remedy: copyAgain)
    }
    let pickle = try unpickle(Array(pickled), from: 0, place: place)
    return try TorchStateReader.read(pickle, fileSize: bytes.count, place: place) {
      try archive.contents("\(root)data/\($0.key)")
    }
  }

  /// The archive's folder with its slash: that of its first member, as for PyTorch, and the only one with a pickle.
  private static func rootName(_ archive: ZipArchive, place: String) throws -> String {
    let pickles = archive.names.filter { $0.hasSuffix("/data.pkl") && $0.count { $0 == "/" } == 1 }
    func refuse(_ what: String) -> PBEError {
      PBEError(
        .badData, "this is a zip archive, but not one torch.save wrote: \(what)", at: place,
        remedy: "name a PyTorch checkpoint or a .safetensors file")
    }
    guard let pickle = pickles.first else {
      let some = archive.names.prefix(4).map { $0.printable(limit: 40) }.joined(separator: ", ")
      throw refuse("no NAME/data.pkl among \(some)")
    }
    let root = String(pickle.dropLast("data.pkl".count))
    guard pickles.count == 1 else { throw refuse("it has \(pickles.count) models (NAME/data.pkl)") }
    guard archive.names.first?.hasPrefix(root) == true else {
      throw refuse("its first member is not in \(root.printable()), where the model is")
    }
    if archive.members["\(root)constants.pkl"] != nil {
      throw PBEError(
        .badData, "this is a TorchScript archive (torch.jit.save), which holds a program", at: place,
        remedy: "load it with torch.jit.load and save its state_dict() with torch.save")
    }
    // PyTorch looks names up regardless of their case: of two that are equal but for it, it would take either.
    var seen: Set<String> = []
    if let again = archive.names.first(where: { !seen.insert($0.lowercased()).inserted }) {
      throw refuse(
        "it has another member that differs from \(again.printable()) by the case of letters alone")
    }
    return root
  }

  private static func unpickle(_ bytes: [UInt8], from start: Int, place: String) throws -> Pickle {
    try Unpickler.read(bytes, in: start..<min(bytes.count, start + pickleLimit), place: place)
  }

  // MARK: - Before PyTorch 1.6

  /// Reads the pickles of the magic number, the version, the machine, the object and the storages' names,
  /// and then the storages: each its number of elements and the elements.
  static func readOldFormat(_ bytes: [UInt8], place: String) throws -> StateDictionary {
    let first = try unpickle(bytes, from: 0, place: place)
    guard case .bigInteger(let number) = first.root, number == magic else {
      throw PBEError(
        .badData, "the file does not begin with PyTorch's magic number", at: place,
        remedy: "name a PyTorch checkpoint or a .safetensors file")
    }
    let version = try unpickle(bytes, from: first.end, place: place)
    guard case .integer(1001) = version.root else {
      throw PBEError(
        .badData, "the checkpoint's format is not version 1001, the only one known", at: place,
        remedy: "load it with PyTorch and save it again")
    }
    let machine = try unpickle(bytes, from: version.end, place: place)
    if case .bool(false)? = machine.member("little_endian", of: machine.root) {
      throw PBEError(
        .badData, "the checkpoint was saved on a machine of big-endian byte order", at: place,
        remedy: "load and save it on a little-endian machine")
    }
    let object = try unpickle(bytes, from: machine.end, place: place)
    let names = try unpickle(bytes, from: object.end, place: place)
    let storages = try oldStorages(bytes, object, names, place: place)
    return try TorchStateReader.read(object, fileSize: bytes.count, place: place) { storages[$0.key] }
  }

  private static func oldStorages(
    _ bytes: [UInt8], _ object: Pickle, _ names: Pickle, place: String
  ) throws -> [String: ArraySlice<UInt8>] {
    guard let keys = names.elements(names.root) else {
      throw PBEError(.badData, "the checkpoint has no list of its storages", at: place, remedy: copyAgain)
    }
    var storages: [String: ArraySlice<UInt8>] = [:]
    var reader = ByteReader(bytes, in: names.end..<bytes.count, place: place)
    for key in keys {
      guard case .string(let name) = key, let storage = object.storages[name], storages[name] == nil else {
        throw PBEError(
          .badData, "the checkpoint's list of storages names one that does not exist", at: place,
          remedy: copyAgain)
      }
      let count = try reader.length64()
      guard count == storage.count else {
        throw PBEError(
          .badData,
          "the storage \(name.printable()) has \(count) elements, and \(storage.count) are expected",
          at: place, remedy: copyAgain)
      }
      let (size, overflow) = count.multipliedReportingOverflow(by: width(of: storage))
      storages[name] = try reader.take(overflow ? .max : size)
    }
    return storages
  }

  /// Bytes per element; types that aren't supported must still be passed over.
  private static func width(of storage: PickleStorage) -> Int {
    if let type = storage.type { return type.byteCount }
    return switch storage.typeName {
    case "torch.ComplexDoubleStorage": 16
    case "torch.ComplexFloatStorage": 8
    case "torch.QInt32Storage": 4
    default: 1
    }
  }
}
