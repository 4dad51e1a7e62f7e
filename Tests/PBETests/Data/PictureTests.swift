import Testing

@testable import PBE

@Suite struct PictureTests {
  /// 2 x 2 pixels of the bytes 0, 10, 20, ..., 110, written by Pillow.
  private static let png: [UInt8] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0, 253,
    212,
    154, 115, 0, 0, 0, 22, 73, 68, 65, 84, 120, 156, 99, 100, 224, 18, 145, 147, 147, 99, 177, 177, 177, 145,
    147,
    147, 3, 0, 8, 238, 1, 140, 36, 115, 243, 243, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
  ]

  private static func picture(_ width: Int, _ height: Int, channels: Int = 3) throws -> Picture {
    try Picture(width: width, height: height, channels: channels, pixels: pattern(width * height * channels))
  }

  @Test func readsAPNGOfAnotherProgram() throws {
    let picture = try Picture(png: Self.png, name: "a.png")
    #expect((picture.width, picture.height, picture.channels) == (2, 2, 3))
    #expect(picture.pixels == stride(from: 0, to: 120, by: 10).map { UInt8($0) })
  }

  /// 0, 0x40FF, 0x8400 and 0xFFFF as 16-bit grey, written by Pillow, which doesn't say how bright they are meant.
  @Test func rounds16BitPNGs() throws {
    let file: [UInt8] = [
      137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 2, 16, 0, 0, 0, 0, 7,
      77, 142, 187, 0, 0, 0, 18, 73, 68, 65, 84, 120, 156, 99, 96, 96, 112, 248, 207, 208, 194, 240, 255, 63,
      0, 12, 209, 3, 194, 246, 144, 72, 191, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
    ]
    let pixels = try Picture(png: file, name: "a.png", channels: 1).pixels.map(Int.init)
    #expect(pixels[0] == 0 && pixels[3] == 255)
    #expect(abs(pixels[1] - 64) <= 1 && abs(pixels[2] - 132) <= 1, "\(pixels)")
  }

  /// As other programs do, by which models are trained: what a file says of its colours changes none.
  @Test(
    arguments: [("gAMA", [0, 1, 0x86, 0xa0]), ("gAMA", [0, 0, 0xd9, 3]), ("sRGB", [0])] as [(String, [UInt8])]
  )
  func coloursStay(chunk: String, contents: [UInt8]) throws {
    func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
    let body = Array(chunk.utf8) + contents
    let sum = try #require(Int(Checksum.hex(of: body), radix: 16))
    let header = 8 + 25
    let file =
      Self.png[..<header] + bigEndian(contents.count) + body + bigEndian(sum) + Self.png[header...]
    #expect(try Picture(png: Array(file), name: "a.png") == Picture(png: Self.png, name: "a.png"))
  }

  @Test(arguments: [1, 3, 4]) func pngKeepsThePixels(channels: Int) throws {
    let picture = try Self.picture(13, 7, channels: channels)
    #expect(try Picture(png: picture.png(), name: "a.png", channels: channels) == picture)
  }

  @Test func refusesDamagedPNGs() throws {
    let good = try Self.picture(40, 30).png()
    for length in [0, 4, 8, 20, 33, 60, good.count / 2, good.count - 30] {
      expectError(.badData, "a.png") { _ = try Picture(png: Array(good.prefix(length)), name: "a.png") }
    }
    var wrong = good
    wrong[good.count / 2] ^= 0xFF
    expectError(.badData, "a.png") { _ = try Picture(png: wrong, name: "a.png") }
    expectError(.badData, "a.png", "no PNG") {
      _ = try Picture(png: Array("hello world".utf8), name: "a.png")
    }
    expectError(.usage, "2") { _ = try Picture(png: good, name: "a.png", channels: 2) }
  }

  @Test func refusesHugePNGsBeforeReservingMemory() {
    // A header of 60,000 x 60,000 pixels with its right checksum, and no pixels.
    let chunk = Array("IHDR".utf8) + bigEndian(60_000) + bigEndian(60_000) + [8, 2, 0, 0, 0]
    var sum = Checksum()
    sum.update(chunk)
    let tail = bigEndian(0) + Array("IDAT".utf8) + bigEndian(0x35AF_061E)
    let file = Array(Self.png.prefix(8)) + bigEndian(13) + chunk + bigEndian(sum.value) + tail
    expectError(.badData, "a.png", "60000 x 60000") { _ = try Picture(png: file, name: "a.png") }
  }

  @Test func readsPPMHeaders() throws {
    let pixels: [UInt8] = [1, 2, 3, 10, 35, 32]
    for header in ["P6 2 1 255 ", "P6\n# one\n#two\r\n2 # three\n1\n255\n", "P6\t2\n\n1\r\n255\n"] {
      let picture = try Picture(ppm: Array(header.utf8) + pixels, name: "a.ppm")
      #expect((picture.width, picture.height, picture.pixels) == (2, 1, pixels))
    }
    let grey = try Picture(ppm: Array("P5 2 1 255 ".utf8) + [9, 8], name: "a.pgm")
    #expect(try grey.rgb().pixels == [9, 9, 9, 8, 8, 8])
    let written = try Self.picture(5, 4)
    #expect(try Picture(ppm: written.ppm(), name: "a.ppm") == written)
    #expect(try Picture(ppm: grey.ppm(), name: "a.pgm") == grey)
  }

  @Test(arguments: [
    "", "P", "P6", "P3\n1 1\n255\n1 2 3", "P6\n", "P6\n1", "P6\n1 1", "P6\n1 1\n255", "P6\n1 1\n255\n",
    "P6\n1 1\n255\nab", "P6\n1 1\n254\nabc", "P6\n1 1\n65535\nabcdef", "P6\n0 1\n255\n", "P6\n-1 1\n255\nabc",
    "P6\n999999999 999999999\n255\nabc", "P6\n99999999999999999999 1\n255\nabc", "P6\nx 1\n255\nabc",
    "P61 1\n255\nabc", "P6\n# no end",
  ])
  func refusesDamagedPPMs(text: String) {
    expectError(.badData, "a.ppm") { _ = try Picture(ppm: Array(text.utf8), name: "a.ppm") }
  }

  @Test func readsFilesByTheirContents() throws {
    let scratch = try ScratchFolder()
    let picture = try Self.picture(6, 5)
    let png = try scratch.write("picture", try picture.png())
    let ppm = try scratch.write("picture.png", try picture.ppm())
    #expect(try Picture(file: png) == picture)
    #expect(try Picture(file: ppm) == picture)
    let text = try scratch.write("text.png", "no picture")
    expectError(.badData, "text.png", "neither") { _ = try Picture(file: text) }
    expectError(.missingInput, "absent.png") { _ = try Picture(file: scratch.path + "/absent.png") }
    expectError(.missingInput, scratch.path) { _ = try Picture(file: scratch.path) }
  }

  /// The expected bytes are Pillow's: `resize(size, Image.BILINEAR)`.
  @Test func scalesAsPillowDoes() throws {
    #expect(
      try Self.picture(5, 4).resized(width: 3, height: 3).pixels == [
        126, 72, 159, 135, 81, 188, 94, 145, 173, 161, 166, 192, 76, 111, 139, 74, 213, 172, 137, 201, 140,
        97, 81,
        170, 71, 119, 113,
      ])
    #expect(
      try Self.picture(7, 3).resized(width: 2, height: 5).pixels == [
        130, 80, 194, 150, 102, 172, 112, 116, 184, 126, 134, 177, 84, 169, 168, 89, 183, 185, 102, 164, 151,
        102,
        108, 148, 114, 160, 139, 110, 58, 123,
      ])
    #expect(
      Checksum.hex(of: try Self.picture(250, 211).resized(width: 32, height: 32).pixels) == "18fc55a8")
    #expect(Checksum.hex(of: try Self.picture(15, 17).resized(width: 32, height: 32).pixels) == "00d4b462")
    #expect(try Self.picture(4, 4).resized(width: 4, height: 4) == Self.picture(4, 4))
  }

  @Test func refusesSizesThatMakeNoSense() throws {
    let picture = try Self.picture(4, 4)
    for (width, height) in [(0, 4), (4, -1), (.max, .max), (1 << 20, 1 << 20), (1 << 26, 1)] {
      expectError(.usage) { _ = try picture.resized(width: width, height: height) }
    }
    expectError(.usage) { _ = try Picture(width: 2, height: 2, channels: 3, pixels: [1]) }
    expectError(.usage) { _ = try Picture(width: 1, height: 1, channels: 2, pixels: [1, 2]) }
    expectError(.usage) { _ = try Picture(width: 1, height: 1, channels: .max, planar: [1]) }
  }
}
