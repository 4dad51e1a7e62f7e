import Kernels
import Testing

@Suite struct PBEErrorTests {
  @Test func oneLine() {
    #expect(PBEError(.usage, "there is no such thing").description == "there is no such thing")
    let error = PBEError(.badData, "the header ends\nearly", at: "model.pt", remedy: "save it again")
    #expect(error.description == "model.pt: the header ends early; save it again")
  }

  @Test func exitCodes() {
    let codes: [(PBEError.Kind, Int32)] = [
      (.usage, 64), (.badData, 65), (.missingInput, 66), (.device, 69), (.internal, 70), (.cannotCreate, 73),
      (.inputOutput, 74), (.interrupted, 75),
    ]
    for (kind, code) in codes { #expect(kind.rawValue == code) }
  }
}
