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
      DevicesCommand.self, PoisonCommand.self, ShowCommand.self, InfectCommand.self, EvaluateCommand.self,
      EraseCommand.self, ReportCommand.self, InspectCommand.self, ObserveCommand.self, CalibrateCommand.self,
      TheoremCommand.self, SweepCommand.self, CollectCommand.self, BenchCommand.self, ParityCommand.self,
      TuneCommand.self,
    ])

  /// The version of the program, also recorded in the files it writes.
  static let version = "0.1.0"
}

@main
enum Main {
  static func main() {
    openStandardStreams()
    Interruption.watch()
    do {
      var command = try parse()
      try command.run()
    } catch let error as PBEError {
      end(error)
    } catch  where PBEGPU.exitCode(for: error) == .success {
      // Help and the version were asked for.
      do { try Output.line(PBEGPU.fullMessage(for: error)) } catch {
        end(PBEError(.inputOutput, "standard output can't be written"))
      }
    } catch  where PBEGPU.exitCode(for: error) == .validationFailure {
      // Values of options that the command itself hands to a parser.
      end(PBEError(.usage, PBEGPU.message(for: error), remedy: "see 'pbe-gpu --help'"))
    } catch {
      end(PBEError(.internal, "\(error)", remedy: "this is a defect of pbe-gpu: report it, with the command"))
    }
  }

  /// A stream that the caller closed would be the first file that is opened, and get what is printed. Printing results to
  /// a closed standard output is still an error.
  private static func openStandardStreams() {
    for (stream, mode) in [(STDIN_FILENO, O_RDONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY)]
    where fcntl(stream, F_GETFD) < 0 { _ = open("/dev/null", mode) }
  }

  /// The command that the arguments name. Throws `usage` for wrong ones, and the parser's own errors for help.
  private static func parse() throws -> any ParsableCommand {
    do { return try PBEGPU.parseAsRoot() } catch  where PBEGPU.exitCode(for: error) != .success {
      // The parser's last line names the help of the command concerned.
      let hint = PBEGPU.fullMessage(for: error).split(separator: "\n").last { $0.contains("--help'") }
      let help = hint?.split(separator: "'").dropFirst().first ?? "pbe-gpu --help"
      throw PBEError(.usage, PBEGPU.message(for: error), remedy: "see '\(help)'")
    }
  }

  private static func end(_ error: PBEError) -> Never {
    Terminal.shared.clear()
    Terminal.shared.error("error: \(error.description)")
    exit(error.kind.rawValue)
  }
}
