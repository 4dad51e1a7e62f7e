import ArgumentParser
import Foundation
import Kernels
import PBE

/// The command.
struct PBEGPU: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pbe-gpu",
    abstract: "Erases backdoors from image classifiers, on any OpenCL device or on the CPU.",
    discussion: """
      Exit codes: 0 done, 64 usage, 65 bad data, 66 missing input, 69 device trouble, 70 internal error, \
      73 cannot create a file, 74 cannot write, 75 interrupted.
      """,
    version: version,
    subcommands: [
      DevicesCommand.self, InfectCommand.self, EvaluateCommand.self, EraseCommand.self, BenchCommand.self,
      ParityCommand.self,
    ])

  /// The version of the program, also recorded in the files it writes.
  static let version = "0.1.0"
}

@main
enum Main {
  static func main() {
    Interruption.watch()
    do {
      var command = try PBEGPU.parseAsRoot()
      try command.run()
    } catch let error as PBEError {
      Terminal.shared.clear()
      Terminal.shared.error("error: \(error.description)")
      exit(error.kind.rawValue)
    } catch {
      PBEGPU.exit(withError: error)
    }
  }
}
