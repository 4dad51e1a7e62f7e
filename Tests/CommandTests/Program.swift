import Foundation
import Testing

/// The built program, beside the test bundle.
enum Program {
  /// What a run left behind.
  struct Result {
    var status: Int32
    var endedBySignal: Bool
    var output: String
    var error: String

    /// Standard output as one JSON object.
    func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
      let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
      return try #require(value as? [String: Any], sourceLocation: sourceLocation)
    }
  }

  /// A run that has started.
  final class Run {
    let process: Process
    let folder: Folder

    init(process: Process, folder: Folder) {
      self.process = process
      self.folder = folder
    }

    /// What standard error holds so far.
    var error: String { folder.text("standard-error") }

    /// Waits until `condition` holds; false when it does not within `seconds`, or the program ended before.
    func wait(seconds: Double = 120, until condition: () -> Bool) -> Bool {
      let deadline = Date(timeIntervalSinceNow: seconds)
      while !condition() {
        if Date() > deadline || !process.isRunning { return condition() }
        Thread.sleep(forTimeInterval: 0.02)
      }
      return true
    }

    /// Waits for the end; kills the program after `seconds`, which no test takes for success.
    func finish(seconds: Double = 300) -> Result {
      if !wait(seconds: seconds, until: { !process.isRunning }) { kill(process.processIdentifier, SIGKILL) }
      process.waitUntilExit()
      return Result(
        status: process.terminationStatus, endedBySignal: process.terminationReason == .uncaughtSignal,
        output: folder.text("standard-output"), error: error)
    }
  }

  /// Where the program should be; `swift test` builds it with the tests.
  static var path: String {
    let bundles = CommandLine.arguments.filter { $0.contains(".xctest") } + ["/proc/self/exe"]
    let folders = bundles.map { argument in
      let end = argument.range(of: ".xctest").map { String(argument[..<$0.upperBound]) } ?? argument
      return URL(fileURLWithPath: end).resolvingSymlinksInPath().deletingLastPathComponent()
    }
    let candidates = folders.map { $0.appendingPathComponent("pbe-gpu").path }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? candidates[0]
  }

  /// Starts the program, or `shell` with the program as `$0` and its arguments behind.
  static func start(
    _ arguments: [String], environment: [String: String] = [:], output: FileHandle? = nil,
    shell: String? = nil
  ) throws -> Run {
    try #require(
      FileManager.default.isExecutableFile(atPath: path), "the program is not built: nothing at \(path)")
    let folder = try Folder()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: shell == nil ? path : "/bin/sh")
    process.arguments = (shell.map { ["-c", $0, path] } ?? []) + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try output ?? folder.handle("standard-output")
    process.standardError = try folder.handle("standard-error")
    try process.run()
    return Run(process: process, folder: folder)
  }

  /// Runs the program to its end.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], output: FileHandle? = nil,
    shell: String? = nil
  ) throws -> Result {
    try start(arguments, environment: environment, output: output, shell: shell).finish()
  }

  /// Runs the program and expects success.
  static func succeed(
    _ arguments: [String], environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Result {
    let result = try run(arguments, environment: environment)
    try #require(
      result.status == 0 && !result.endedBySignal, "exit \(result.status): \(result.error)",
      sourceLocation: sourceLocation)
    return result
  }

  /// Runs the program and expects an exit code, one line on standard error that holds all of `parts`, and nothing on
  /// standard output.
  static func fail(
    _ status: Int32, _ parts: [String], _ arguments: [String], environment: [String: String] = [:],
    ignoringOutput: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try run(arguments, environment: environment)
    #expect(!result.endedBySignal, "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.status == status, "\(arguments): \(result.error)", sourceLocation: sourceLocation)
    #expect(ignoringOutput || result.output.isEmpty, sourceLocation: sourceLocation)
    // Records of the log may come before.
    let errors = result.error.split(separator: "\n").drop { !$0.hasPrefix("error: ") }
    #expect(errors.count == 1, "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.error.hasSuffix("\n"), sourceLocation: sourceLocation)
    for part in parts {
      #expect(
        errors.first?.contains(part) ?? false, "\(result.error) lacks \(part)", sourceLocation: sourceLocation
      )
    }
  }
}
