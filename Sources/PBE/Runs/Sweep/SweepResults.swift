import Foundation
import Kernels

/// The results of a sweep's finished cells, read from their JSON records, as tables; in a sweep of chains, a table for each
/// step.
public struct SweepResults {
  /// One cell.
  public struct Row {
    /// The cell.
    public let cell: SweepCell
    /// How far it is.
    public let state: SweepCellFolder.State
    /// The record's numbers, texts and truth values by path, `metrics.acc`; empty unless it is done.
    public let values: [String: SweepValue]
    /// What went wrong, if anything.
    public let error: String?

    func number(_ key: String) -> Double? { values[key].flatMap { Double($0.text) } }

    /// Where the records of the commands have the rates of the model that a cell ends with.
    fileprivate static let ratePaths = ["after.", "metrics.", "model.findings.", ""]

    /// A rate of the model that the cell ends with, `acc` or `asr`.
    public func rate(_ name: String) -> Double? {
      Self.ratePaths.lazy.compactMap { number($0 + name) }.first
    }
  }

  /// The cells in the file's order.
  public let rows: [Row]
  private let file: SweepFile

  /// Reads what is there; `records` is where records are kept for good. Throws `badData` for a record that is no JSON.
  public init(_ file: SweepFile, output: String, records: String? = nil) throws {
    self.file = file
    rows = try file.cells.map { cell in
      let folder = SweepCellFolder(cell, output: output, records: records)
      let state = try folder.state
      return Row(
        cell: cell, state: state, values: try folder.values(state),
        error: state == .failed ? try folder.record?.error : nil)
    }
  }

  // MARK: - CSV

  /// A line per cell: name, state, labels, and everything that any record holds.
  public var csv: String {
    let keys = Set(rows.flatMap(\.values.keys)).sorted()
    let header = ["cell", "state"] + file.axes.map { "axis.\($0)" } + keys
    let lines = rows.map { row in
      [row.cell.name, row.state.rawValue] + file.axes.map { row.cell.labels[$0] ?? "" }
        + keys.map { row.values[$0]?.text.onOneLine ?? "" }
    }
    return ([header] + lines).map { $0.map(\.csvField).joined(separator: ",") + "\n" }.joined()
  }

  // MARK: - Markdown

  private struct Column {
    var title: String
    var text: (Row) -> String?
  }

  /// A table of the finished cells, and the names of the others. Rates are in per cent; the difference to the baseline is in
  /// points of accuracy.
  public var markdown: String {
    guard !file.steps.isEmpty else { return table(rows) }
    return file.steps.map { step in "### \(step)\n\n" + table(rows.filter { $0.cell.step == step }) }
      .joined(separator: "\n")
  }

  private func table(_ rows: [Row]) -> String {
    let axes = file.axes.filter { rows.first?.cell.labels[$0] != nil }
    let varying = axes.filter { axis in Set(rows.map { $0.cell.labels[axis] }).count > 1 }
    var columns = varying.map { axis in Column(title: axis) { $0.cell.labels[axis] } }
    // Records of infections have a count of that name where those of evaluations have a rate.
    let isEvaluation = rows.contains { $0.values["acc"] != nil }
    for key in Self.metrics where rows.contains(where: { $0.values[key.path] != nil }) {
      if key.path == "cross", !isEvaluation { continue }
      columns.append(Column(title: key.title) { $0.number(key.path).map { Self.points($0) } })
      if key.path.hasSuffix("acc"), Set(axes).isSuperset(of: file.baseline.keys), !file.baseline.isEmpty,
        key.path == Self.accuracy(of: rows)
      {
        columns.append(Column(title: Self.differenceTitle) { self.difference($0, key.path) })
      }
    }
    if rows.contains(where: { $0.values["seconds"] != nil }) {
      columns.append(Column(title: "seconds") { $0.number("seconds").map { String(format: "%.0f", $0) } })
    }
    // One run of a command that records nothing.
    if columns.isEmpty { columns.append(Column(title: "cell") { $0.cell.name }) }
    let finished = rows.filter(\.state.isDone)
    var lines: [String] = []
    if !finished.isEmpty {
      lines.append(Self.line(columns.map(\.title)))
      lines.append(Self.line(columns.map { _ in "---" }))
      lines += finished.map { row in Self.line(columns.map { $0.text(row) ?? "-" }) }
      lines.append("")
      var note = axes.filter { !varying.contains($0) }
        .map { "\($0) \(rows.first?.cell.labels[$0] ?? "")" }
      for key in ["device", "precision", "version"] {
        let values = Set(finished.compactMap { $0.values[key]?.text }).sorted()
        if !values.isEmpty { note.append("\(key) \(values.joined(separator: " and "))") }
      }
      if columns.contains(where: { $0.title == Self.differenceTitle }) {
        let labels = file.baseline.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        note.append("differences, in points, are to \(labels.joined(separator: ", "))")
      }
      if !note.isEmpty { lines.append(note.joined(separator: "; ").capitalisedFirst + ".") }
    }
    let others = rows.filter { !$0.state.isDone }
    if !others.isEmpty {
      let missing = others.count { $0.state == .missing }
      // A long list would hide the table.
      let isLong = missing > Self.namedMissing
      var names = others.filter { $0.state != .missing || !isLong }.map { row in
        row.state == .missing ? row.cell.name : "\(row.cell.name) (\(row.state.rawValue))"
      }
      if isLong {
        names.append("\(missing) of \(rows.count) cells that were never begun (`sweep --list` names them)")
      }
      lines.append("Not there yet: \(names.joined(separator: ", ")).")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// What went wrong, as a Markdown list; empty when nothing did.
  public var failures: String {
    // A message holds whatever names of files hold: it must stay on its line.
    rows.filter { $0.state == .failed }
      .map { "- \($0.cell.name) failed: \(($0.error ?? "there is no message").printable(limit: 500))\n" }
      .joined()
  }

  /// How many cells are in which state, in words: `6 finished, 1 running, 1 failed`.
  public var summary: String {
    SweepCellFolder.State.allCases.compactMap { state in
      let count = rows.count { $0.state == state }
      return count > 0 ? "\(count) \(state.rawValue)" : nil
    }.joined(separator: ", ")
  }

  private static let namedMissing = 20

  private static let differenceTitle = "ACC, difference"

  private static let metrics: [(path: String, title: String)] = [
    ("metrics.acc", "ACC"), ("metrics.asr", "ASR"), ("metrics.ra", "RA"), ("metrics.cross", "cross"),
    ("acc", "ACC"), ("asr", "ASR"), ("ra", "RA"), ("cross", "cross"),
    ("model.findings.acc", "ACC"), ("model.findings.asr", "ASR"),
    ("before.acc", "ACC before"), ("before.asr", "ASR before"), ("after.acc", "ACC after"),
    ("after.asr", "ASR after"), ("after.ra", "RA after"), ("der", "DER"),
    ("relapse.asr", "ASR after relapse"), ("identification.auroc", "AUROC"),
    ("identification.tpr", "TPR"), ("identification.fpr", "FPR"),
    ("identification.fpr_untouched", "FPR of untouched"),
  ]

  /// The accuracy that is compared with the baseline's.
  private static func accuracy(of rows: [Row]) -> String {
    Row.ratePaths.map { $0 + "acc" }.first { key in rows.contains { $0.values[key] != nil } } ?? "acc"
  }

  private func difference(_ row: Row, _ key: String) -> String? {
    let labels = row.cell.labels.merging(file.baseline) { $1 }
    guard labels != row.cell.labels, let own = row.number(key),
      let other = rows.first(where: { $0.cell.step == row.cell.step && $0.cell.labels == labels })?
        .number(key)
    else { return nil }
    return String(format: "%+.2f", 100 * (own - other))
  }

  private static func points(_ fraction: Double) -> String { String(format: "%.2f", 100 * fraction) }

  private static func line(_ cells: [String]) -> String {
    // Labels and names of devices go into the table as they are, but a bar would end a cell.
    "| \(cells.map { $0.replacingOccurrences(of: "|", with: "\\|") }.joined(separator: " | ")) |"
  }

  /// `text`, the file at `path`, with the table between this sweep's markers; without markers, in a new section at the end.
  /// Throws as ``place(of:in:path:)``.
  public func inserted(into text: String, path: String) throws -> String {
    let (begin, end) = Self.markers(file)
    let section = "\(begin)\n\n\(markdown)\n\(end)"
    if let place = try Self.place(of: file, in: text, path: path) {
      return text.replacingCharacters(in: place, with: section)
    }
    let gap = text.isEmpty ? "" : text.hasSuffix("\n") ? "\n" : "\n\n"
    return "\(text)\(gap)## Sweep \(file.name)\n\n\(section)\n"
  }

  /// Where a sweep's markers and what is between them stand in the text of the file at `path`; `nil` where they don't.
  /// Throws `badData` unless there is one of each: what is between others is not the sweep's to replace.
  @discardableResult public static func place(
    of file: SweepFile, in text: String, path: String
  ) throws -> Range<String.Index>? {
    let (begin, end) = markers(file)
    let (begins, ends) = (text.ranges(of: begin), text.ranges(of: end))
    if begins.isEmpty, ends.isEmpty { return nil }
    guard begins.count == 1, ends.count == 1, begins[0].upperBound <= ends[0].lowerBound else {
      throw PBEError(
        .badData,
        "the markers of the sweep \(file.name) are not a pair: it has \(begins.count) of its begin and \(ends.count) of its end",
        at: path, remedy: "leave the lines \(begin) and \(end) there once each, in this order, or neither")
    }
    return begins[0].lowerBound..<ends[0].upperBound
  }

  private static func markers(_ file: SweepFile) -> (begin: String, end: String) {
    ("<!-- sweep \(file.name): begin -->", "<!-- sweep \(file.name): end -->")
  }
}

extension String {
  fileprivate var capitalisedFirst: String { prefix(1).uppercased() + dropFirst() }
}
