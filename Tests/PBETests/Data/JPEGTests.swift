import Foundation
import Kernels
import PBE
import Testing

@Suite struct JPEGTests {
  /// 9 x 6 pixels, written by Pillow: red grows to the right by 25, green downwards by 40, blue is 90.
  private static let baseline =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdB"
    + "RkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    + "T09PT09PT09PT09PT0//wAARCAAGAAkDASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAQF/8QAHBAAAgAHAAAAAAAA"
    + "AAAAAAAAAAMEBhYhMmKR/8QAFQEBAQAAAAAAAAAAAAAAAAAAAQX/xAAbEQACAQUAAAAAAAAAAAAAAAAAAwQFEhMxMv/aAAwD"
    + "AQACEQMRAD8AkgJdRbE1KeRrwAnOkMu2NNkuw9H/2Q=="
  private static let progressive =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdB"
    + "RkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    + "T09PT09PT09PT09PT0//wgARCAAGAAkDASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAME/8QAFQEBAQAAAAAAAAAA"
    + "AAAAAAAAAAT/2gAMAwEAAhADEAAAAY6iZ//EABgQAAIDAAAAAAAAAAAAAAAAAAABAgQU/9oACAEBAAEFAoV0Z0f/xAAZEQAB"
    + "BQAAAAAAAAAAAAAAAAAAAgMEEjH/2gAIAQMBAT8BjOLpp//EABcRAQADAAAAAAAAAAAAAAAAAAIAAxH/2gAIAQIBAT8Bdi2f"
    + "/8QAFBABAAAAAAAAAAAAAAAAAAAAEP/aAAgBAQAGPwI//8QAFhABAQEAAAAAAAAAAAAAAAAAAGFx/9oACAEBAAE/IZ2L/9oA"
    + "DAMBAAIAAwAAABD/AP/EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQMBAT8QI//EABURAQEAAAAAAAAAAAAAAAAAAABB/9oA"
    + "CAECAQE/EKD/xAAXEAEAAwAAAAAAAAAAAAAAAAAAASHw/9oACAEBAAE/EKptD//Z"
  private static let grey =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdB"
    + "RkxOUlNSMj5aYVpQYEpRUk//wAALCAAGAAkBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABAX/xAAcEAACAAcAAAAAAAAAAAAA"
    + "AAAAAwQGFiEyYpH/2gAIAQEAAD8AJAS6i2JUp5GvD//Z"
  private static let cmyk =
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZM"
    + "TlJTUjI+WmFaUGBKUVJP/8AAFAgABgAJBEMRAE0RAFkRAEsRAP/EABcAAAMBAAAAAAAAAAAAAAAAAAAFBwL/xAAbEAEAAQUB"
    + "AAAAAAAAAAAAAAAAAgQGFlGRQ//aAA4EQwBNAFkASwAAPwBNZnmzg1JuHChTlFGDUm4cAf/Z"

  private static func bytes(_ text: String) throws -> [UInt8] {
    [UInt8](try #require(Data(base64Encoded: text)))
  }

  /// The expected bytes are Pillow's.
  @Test func readsTheFilesOfAnotherProgram() throws {
    for text in [Self.baseline, Self.progressive] {
      let picture = try Picture(jpeg: Self.bytes(text), name: "a.jpg")
      #expect((picture.width, picture.height, picture.channels) == (9, 6, 3))
      #expect(Checksum.hex(of: picture.pixels) == "983b56f9")
    }
    let grey = try Picture(jpeg: Self.bytes(Self.grey), name: "a.jpg")
    #expect(grey.channels == 1)
    #expect(Checksum.hex(of: try grey.rgb().pixels) == "b794e8dd")
    #expect(try grey.rgb().grey() == grey)
  }

  @Test func readsFilesByTheirContents() throws {
    let scratch = try ScratchFolder()
    let path = try scratch.write("picture.png", try Self.bytes(Self.grey))
    #expect(try Picture(file: path).channels == 3)
    let empty = try scratch.write("empty.jpg", "")
    expectError(.badData, "empty.jpg", "empty") { _ = try Picture(file: empty) }
  }

  /// Wherever a file ends too early, that is an error, and none ends the program.
  @Test func refusesFilesThatAreCutOff() throws {
    for text in [Self.baseline, Self.progressive, Self.grey] {
      let file = try Self.bytes(text)
      for length in 0..<file.count - 2 {
        expectError(.badData, "a.jpg") { _ = try Picture(jpeg: Array(file.prefix(length)), name: "a.jpg") }
      }
    }
  }

  /// Any byte may be wrong: then it is another picture or an error.
  @Test func survivesDamagedFiles() throws {
    for text in [Self.baseline, Self.progressive, Self.grey] {
      let file = try Self.bytes(text)
      for index in file.indices {
        for value: UInt8 in [0, 0x7F, 0xFF] {
          var wrong = file
          wrong[index] = value
          do {
            let picture = try Picture(jpeg: wrong, name: "a.jpg")
            #expect(picture.pixels.count == picture.width * picture.height * picture.channels)
          } catch let error as PBEError {
            #expect(error.kind == .badData, "\(error)")
          }
        }
      }
    }
  }

  @Test func refusesOtherColours() throws {
    expectError(.badData, "a.jpg", "RGB") { _ = try Picture(jpeg: Self.bytes(Self.cmyk), name: "a.jpg") }
    expectError(.badData, "a.jpg", "no JPEG") { _ = try Picture(jpeg: Array("hello".utf8), name: "a.jpg") }
  }

  /// The expected values are Pillow's `convert("L")`.
  @Test func greyIsTheLuma() throws {
    let row = (0..<9).flatMap { (column: UInt8) -> [UInt8] in [column * 25, 0, 90] }
    let picture = try Picture(width: 9, height: 1, channels: 3, pixels: row)
    #expect(try picture.grey().pixels == [10, 18, 25, 33, 40, 48, 55, 63, 70])
  }
}
