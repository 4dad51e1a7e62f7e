import Foundation
import Kernels
import Synchronization

private let requested = Atomic<Bool>(false)

/// Remembers that a signal asked the program to stop, so that it stops between two steps and leaves whole files.
enum Interruption {
  /// Catches SIGINT, SIGTERM and SIGUSR1 (what a cluster sends before time is up). A second SIGINT or SIGTERM ends the
  /// program at once. A second SIGUSR1 does not: it comes from programs, and batch systems may signal a whole group of
  /// processes that also pass the signal on.
  static func watch() {
    // Also makes sure that the flag exists before a signal handler touches it.
    requested.store(false, ordering: .relaxed)
    catchSignal(SIGINT, flags: UInt32(SA_RESETHAND))
    catchSignal(SIGTERM, flags: UInt32(SA_RESETHAND))
    catchSignal(SIGUSR1)
    // A parent may have started the program with these signals blocked (libdispatch's threads do).
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGUSR1] { sigaddset(&signals, number) }
    sigprocmask(SIG_UNBLOCK, &signals, nil)
    // Writing to a closed pipe, or beyond the limit of a file's size, is an error like any other.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }

  /// Whether a signal has come. Looks after the handler of SIGUSR1: LLVM, which OpenCL drivers load, puts one in its place that
  /// does nothing, once. Those of the other signals it calls after its own.
  static var isRequested: Bool {
    catchSignal(SIGUSR1)
    return requested.load(ordering: .relaxed)
  }

  private static func catchSignal(_ number: Int32, flags: UInt32 = 0) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in requested.store(true, ordering: .relaxed) }
    action.sa_flags = Int32(bitPattern: flags)
    sigaction(number, &action, nil)
  }

  /// Throws `interrupted` when a signal has come; `remedy` says what is left and how to go on.
  static func check(_ remedy: String) throws {
    if isRequested { throw PBEError(.interrupted, "interrupted", remedy: remedy) }
  }
}
