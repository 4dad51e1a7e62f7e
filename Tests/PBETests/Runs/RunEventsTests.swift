import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Events of a run")
struct RunEventsTests {
  @Test func lines() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/events.jsonl"
      do {
        let events = try RunEvents(directory.path) { Date(timeIntervalSince1970: 0.25) }
        var epoch = RunEvent(.epoch)
        epoch.number = 1
        epoch.loss = 0.5
        events.add(epoch)
        let error = #expect(throws: PBEError.self) {
          try events.ending { throw PBEError(.inputOutput, "the disk is full", at: "a\nb") }
        }
        #expect(error?.kind == .inputOutput)
      }
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(
        text == """
          {"event":"epoch","loss":0.5,"number":1,"time":"1970-01-01T00:00:00.250Z"}
          {"code":74,"event":"failed","message":"a b: the disk is full","time":"1970-01-01T00:00:00.250Z"}

          """)
      #expect(try RunEvents.read(path).map(\.event) == [.epoch, .failed])
    }
  }

  /// What a killed process left of its last line hides no other.
  @Test func tornLine() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/events.jsonl"
      let whole = #"{"event":"start","time":"x"}"#
      try AtomicFile.write(whole + "\n" + #"{"event":"epo"#, to: path)
      #expect(try RunEvents.read(path).map(\.event) == [.start])
      try RunEvents(directory.path).add(RunEvent(.resume))
      #expect(try RunEvents.read(path).map(\.event) == [.start, .resume])
      try RunEvents(directory.path).add(RunEvent(.finished))
      let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
      #expect(lines.count == 4 && lines[0] == whole)
    }
  }

  @Test func secondProcess() throws {
    try TestFiles.withDirectory { directory in
      let first = try RunEvents(directory.path)
      let error = #expect(throws: PBEError.self) { try RunEvents(directory.path) }
      #expect(error?.kind == .cannotCreate && error?.description.contains("another process") ?? false)
      withExtendedLifetime(first) {}
      #expect(throws: PBEError.self) { try RunEvents(directory.path + "/missing") }
    }
  }
}
