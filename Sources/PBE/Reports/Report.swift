import Foundation
import Kernels
import Mustache

/// A page about one or more runs: a single HTML file that needs no script, asks for nothing from anywhere, and can be read
/// in light and dark, on paper, with a keyboard and by a screen reader.
public struct Report {
  /// The page.
  public let html: String
  /// What the page tells of each run, for the command's own output.
  public let runs: [Summary]

  /// One run.
  public struct Summary: Sendable, Codable {
    /// Its folder.
    public var run: String
    /// `erasing`, `infection`, `inspection` or `unknown`.
    public var kind: String
    /// What is missing or damaged; nothing for a finished run of this version.
    public var problems: [String]
  }

  /// Reads the folders of runs. The same folders give the same page, byte for byte.
  ///
  /// - Parameter version: the program's.
  /// - Throws: `missingInput` when a folder is missing, `badData` when nothing in it can be read, `usage` without runs.
  public init(_ folders: [String], version: String) throws {
    guard !folders.isEmpty else { throw PBEError(.usage, "a report needs at least one run") }
    let runs = try folders.map { try RunFolder($0, version: version) }
    self.runs = runs.map { Summary(run: $0.path, kind: $0.kind.rawValue, problems: $0.problems) }
    html = try Self.render(runs, version: version)
  }

  private static func render(_ runs: [RunFolder], version: String) throws -> String {
    MustacheContentTypes.register(MarkupContentType(), named: MarkupContentType.name)
    // The page's first heading is the run's own where there is one run, and the overview's else.
    let level = runs.count > 1 ? 2 : 1
    func leveled(_ template: String) -> String {
      template.replacingOccurrences(of: "{{level}}", with: "\(level)")
        .replacingOccurrences(of: "{{sublevel}}", with: "\(level + 1)")
        .replacingOccurrences(of: "{{listlevel}}", with: "\(level + 2)")
    }
    let library: MustacheLibrary
    do {
      library = MustacheLibrary(templates: [
        "page": try MustacheTemplate(string: ReportTemplate.page),
        "run": try MustacheTemplate(string: leveled(ReportTemplate.run)),
        "table": try MustacheTemplate(string: ReportTemplate.table),
      ])
    } catch { throw PBEError(.internal, "a template of the report is wrong: \(error)") }
    let views = runs.enumerated().map { RunView($0.element, id: "run-\($0.offset + 1)") }
    let isSet = views.count > 1
    let title = isSet ? "Report of \(views.count) runs" : "\(views[0].name): \(views[0].kind.lowercased())"
    let links =
      isSet
      ? [LinkView(id: "overview-title", name: "Overview")] + views.map { LinkView(id: $0.id, name: $0.name) }
      : views[0].sections.map { LinkView(id: $0.id, name: $0.title) }
    let page = PageView(
      title: title, style: ReportStyle.sheet, version: version,
      overview: isSet ? overview(runs, views) : nil, links: links, runs: views)
    guard let text = library.render(page, withTemplate: "page") else {
      throw PBEError(.internal, "the report's template is missing")
    }
    return text
  }

  /// A line per run.
  private static func overview(_ runs: [RunFolder], _ views: [RunView]) -> TableView {
    let rows = zip(runs, views).map { run, view in
      let (before, after) = (run.before, run.after)
      return TableView.Row(
        name: view.name, link: view.id,
        cells: [
          view.kind, view.state, Rates.percent(before?.acc), Rates.percent(after?.acc),
          Rates.percent(before?.asr),
          Rates.percent(after?.asr), Rates.percent(after?.ra), Rates.percent(run.record?["der"]?.number),
          run.seconds?.asDuration ?? "-",
        ])
    }
    return TableView(
      caption: "All runs; rates in per cent", corner: "Run",
      columns: [
        "what", "state", "ACC before", "ACC after", "ASR before", "ASR after", "RA after", "DER", "time",
      ],
      rows: rows)
  }
}
