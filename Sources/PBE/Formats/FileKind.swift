/// What a file is that is no model, judged by its first bytes; only for messages.
enum FileKind {
  private static let signatures: [(bytes: [UInt8], description: String)] = [
    ([0xff, 0xd8, 0xff], "it looks like a JPEG image"),
    ([0x89, 0x50, 0x4e, 0x47], "it looks like a PNG image"),
    ([0x89, 0x48, 0x44, 0x46], "it looks like an HDF5 file (Keras)"),
    ([0x93, 0x4e, 0x55, 0x4d], "it looks like a NumPy array"),
    ([0x1f, 0x8b], "it is compressed with gzip: decompress it first"),
    ([0x42, 0x5a, 0x68], "it is compressed with bzip2: decompress it first"),
    ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "it is compressed with xz: decompress it first"),
    ([0x28, 0xb5, 0x2f, 0xfd], "it is compressed with zstd: decompress it first"),
    ([0x50, 0x4b, 5, 6], "it is an empty zip archive"),
    (
      Array("version https://git-lfs".utf8),
      "it is a Git LFS pointer: fetch the file itself with `git lfs pull`"
    ),
    (Array("GGUF".utf8), "it looks like a GGUF model"),
    (Array("<!DOCTYPE".utf8), "it is a web page, so the download went wrong"),
    (Array("<!doctype".utf8), "it is a web page, so the download went wrong"),
    (Array("<html".utf8), "it is a web page, so the download went wrong"),
  ]

  /// A clause about the first bytes.
  static func describe(_ bytes: [UInt8]) -> String {
    if let known = signatures.first(where: { bytes.starts(with: $0.bytes) }) { return known.description }
    if bytes.dropFirst(257).starts(with: "ustar".utf8) { return "it is a tar archive: unpack it first" }
    if bytes.first == 0x80, let version = bytes.dropFirst().first, version <= 5 {
      return "it is a Python pickle, but not one torch.save wrote"
    }
    // An ONNX model is a protocol buffer whose first field is the version of its format.
    if bytes.count > 2, bytes[0] == 0x08, (1...20).contains(bytes[1]), bytes[2] == 0x12 {
      return "it looks like an ONNX model"
    }
    let head = bytes.prefix(16)
    if head.allSatisfy({ (0x20..<0x7f).contains($0) || (0x09...0x0d).contains($0) }) {
      return "it begins with the text \"\(String(decoding: head, as: UTF8.self).printable())\""
    }
    let digits = head.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
    return "its first bytes are \(digits.joined(separator: " "))"
  }
}
