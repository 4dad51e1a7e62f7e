import Foundation
import Kernels
import Logging
import PBE

/// Standard error as people see it: log lines, and below them, on a terminal, one line of progress with the time left.
final class Terminal: @unchecked Sendable {
  static let shared = Terminal()

  private let isTerminal = isatty(2) != 0
  private var isQuiet = false
  private var showsLine = false
  private var start: (time: ContinuousClock.Instant, share: Double)?
  private var last: ContinuousClock.Instant?
  private let lock = NSLock()

  /// With `quiet`, only errors are shown.
  func configure(quiet: Bool) { lock.withLock { isQuiet = quiet } }

  /// A line that always appears.
  func error(_ line: String) { write("\(line)\n") }

  /// A line of the log.
  func log(_ line: String) {
    lock.withLock {
      guard !isQuiet else { return }
      clearLine()
      write("\(line.visible)\n")
    }
  }

  /// Shows how far a job is, at most ten times a second, and only on a terminal.
  func progress(_ what: String, _ share: Double) {
    lock.withLock {
      guard isTerminal, !isQuiet else { return }
      let now = ContinuousClock.now
      // A resumed job begins somewhere on the way.
      let start = self.start ?? (now, share)
      self.start = start
      if let last, now - last < .milliseconds(100) { return }
      last = now
      let (elapsed, done) = ((now - start.time).seconds, share - start.share)
      var line = "\(what)  \(Int(100 * min(1, share)))%"
      if done > 0.01, elapsed > 1 { line += "  \((elapsed * (1 - share) / done).asDuration) left" }
      clearLine()
      // A line that wraps could not be taken back.
      write(String(line.prefix(Self.columns() - 1)))
      showsLine = true
    }
  }

  /// Removes the line of progress, and forgets the job's start.
  func clear() {
    lock.withLock {
      clearLine()
      start = nil
    }
  }

  private func clearLine() {
    if showsLine { write("\r\u{1B}[K") }
    showsLine = false
  }

  /// Writes what can be written: with standard error closed or full, the job goes on without a log.
  private func write(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

  private static func columns() -> Int {
    var size = winsize()
    return ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1 ? Int(size.ws_col) : 80
  }
}

/// Sends swift-log's records to the terminal, one plain line each.
struct TerminalLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let prefix = event.level >= .warning ? "\(event.level): " : ""
    Terminal.shared.log(prefix + event.message.description)
  }
}
