import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Atomic writing")
struct AtomicFileTests {
  private struct Stopped: Error {}

  @Test("contents are replaced whole, through links, and nothing else is left")
  func replacing() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/" + String(repeating: "n", count: 255)
      let link = directory.path + "/link"
      try AtomicFile.write("old", to: path)
      // More than a process usually leaves to others of a new file.
      try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: path)
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
      try AtomicFile.write(Data("new".utf8), to: link)
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "new")
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect(attributes[.posixPermissions] as? Int == 0o666)
      #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 2)
    }
  }

  @Test("links that lead to no file yet are followed, too")
  func danglingLink() throws {
    try TestFiles.withDirectory { directory in
      let files = FileManager.default
      let (link, next, target) = (directory.path + "/link", directory.path + "/next", directory.path + "/new")
      try files.createSymbolicLink(atPath: link, withDestinationPath: next)
      try files.createSymbolicLink(atPath: next, withDestinationPath: "new")
      #expect(InputFile.isNamed(link) && !InputFile.exists(link) && !InputFile.isNamed(target))
      try AtomicFile.write("x", to: link)
      #expect(try String(contentsOfFile: target, encoding: .utf8) == "x")
      #expect(try files.contentsOfDirectory(atPath: directory.path).sorted() == ["link", "new", "next"])
      #expect(try files.destinationOfSymbolicLink(atPath: link) == next)
      // In a circle they lead nowhere.
      try files.removeItem(atPath: next)
      try files.createSymbolicLink(atPath: next, withDestinationPath: link)
      let error = #expect(throws: PBEError.self) { try AtomicFile.write("x", to: link) }
      #expect(error?.kind == .cannotCreate && error?.place == link)
    }
  }

  @Test("a failure leaves the old contents and no temporary file")
  func failing() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/file"
      try AtomicFile.write("old", to: path)
      #expect(throws: Stopped.self) {
        try AtomicFile.write(to: path) { sink in
          try sink.write([UInt8](repeating: 1, count: 100_000))
          throw Stopped()
        }
      }
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["file"])
    }
  }

  @Test("places where nothing can be created")
  func impossiblePlaces() throws {
    try TestFiles.withDirectory { directory in
      for path in [directory.path, directory.path + "/absent/file", "/proc/file", ""] {
        let error = #expect(throws: PBEError.self) { try AtomicFile.write("x", to: path) }
        #expect(error?.kind == .cannotCreate && error?.place == path)
      }
    }
  }

  @Test("devices are written, not replaced; a full disk is named")
  func devices() throws {
    try AtomicFile.write("x", to: "/dev/null")
    var status = stat()
    #expect(stat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
    guard FileManager.default.fileExists(atPath: "/dev/full") else {
      print("NOT RUN: this system has no /dev/full")
      return
    }
    let error = #expect(throws: PBEError.self) { try AtomicFile.write("x", to: "/dev/full") }
    #expect(error?.kind == .inputOutput)
    #expect(error?.what.contains("the disk is full") == true)
  }
}
