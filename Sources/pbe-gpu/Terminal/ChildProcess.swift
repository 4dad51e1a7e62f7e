import Foundation
import Kernels

/// This program once more, with other arguments, in a process group of its own: Ctrl-C on a terminal reaches the parent
/// only, which passes it on. Foundation's `Process` would close the files that the child should inherit.
final class ChildProcess {
  /// How a process ended.
  enum End: Equatable {
    case exit(Int32)
    case signal(Int32)
  }

  private let identifier: pid_t
  private var end: End?

  /// Starts the child, with variables in `environment` besides those of this process, and with the open file `inherited`;
  /// what it prints is added to the file `log`. Throws `cannotCreate` or `internal`.
  init(
    _ arguments: [String], log: String, environment: [String: String] = [:], inherited: Int32
  ) throws {
    let program = Bundle.main.executablePath ?? CommandLine.arguments[0]
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o666)
    // Onto itself: that keeps it open in this child only.
    posix_spawn_file_actions_adddup2(&actions, inherited, inherited)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    let words = ([program] + arguments).map { strdup($0) }
    let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      .map { strdup("\($0)=\($1)") }
    defer { for word in words + variables { free(word) } }
    var identifier: pid_t = 0
    let code = posix_spawn(
      &identifier, program, &actions, &attributes, words + [nil], variables + [nil])
    guard code == 0 else {
      throw PBEError(
        .cannotCreate, "the command can't be started (\(String(cString: strerror(code))))", at: program,
        remedy: "check that \(log) can be written")
    }
    self.identifier = identifier
  }

  /// How it ended; `nil` while it runs. Throws `internal`.
  func poll() throws -> End? {
    if let end { return end }
    var status: Int32 = 0
    let found = waitpid(identifier, &status, WNOHANG)
    if found == 0 || found < 0 && errno == EINTR { return nil }
    guard found == identifier else {
      throw PBEError(.internal, "the command can't be waited for (\(String(cString: strerror(errno))))")
    }
    // What the macros of <sys/wait.h> do, which Swift does not see.
    let number = status & 0x7f
    end = number == 0 ? .exit(status >> 8 & 0xff) : .signal(number)
    return end
  }

  /// Asks it to stop and leave a checkpoint.
  func stop() { if end == nil { kill(identifier, SIGUSR1) } }
}
