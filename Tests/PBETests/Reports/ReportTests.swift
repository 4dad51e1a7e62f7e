import Foundation
import FoundationXML
import Kernels
import Testing

@testable import PBE

/// Pages about folders that hold only what a test puts there.
@Suite struct ReportTests {
  private static let metrics = #"{"acc": 0.82, "asr": 1.0, "ra": 0.0, "asr_all_images": 1.0}"#
  private static let after = #"{"acc": 0.81, "asr": 0.03, "ra": 0.8, "asr_all_images": 0.11}"#

  /// A record of `erase`, with a text in place of the device's name.
  private func record(name: String = "a device", version: String = "9.9", steps: String? = nil) throws
    -> String
  {
    let text = String(decoding: try JSONEncoder().encode(name), as: UTF8.self)
    let step = """
      {"step": 0, "extra_set_size": 4, "extra_set_poisoned": 0.25, "losses": [0.5, 0.25], "metrics": \(Self.after),
       "training_seconds": 3, "scoring_seconds": 1, "agreement_auroc": 1}
      """
    return """
      {"version": "\(version)", "device": "cpu", "device_name": \(text), "driver": "d", "precision": "fp32",
       "seed": 18446744073709551615, "model": \(text), "images": 4, "poisoned": 1,
       "settings": {"dataset": "fashion-mnist", "data_checksum": "0badcafe", "epsilon": 0.0235294122248888, "x": \(text),
       "attack": "{\\"attack\\": \\"badnet\\", \\"target\\": 3}"},
       "settings_checksum": "12345678", "before": \(Self.metrics), "after": \(Self.after), "der": 0.98,
       "identification": {"suggested": 1, "labels": [9], "auroc": 1, "tpr": 1, "fpr": 0},
       "seconds": 10, "steps": [\(steps ?? step)]}
      """
  }

  private static let agreement = """
    index,label,agreement,kept,probability,suggested,answer,poisoned
    0,9,0.01,,0.99,1,2,1
    1,9,0.98,0,0.01,0,9,0
    2,0,0.97,0,0.0,0,0,0
    3,1,1.0,0,0.0,0,1,0

    """

  /// The page about a folder with these files.
  private func report(_ files: [String: String], in directory: URL, version: String = "9.9") throws -> Report
  {
    for (name, text) in files { try Data(text.utf8).write(to: directory.appendingPathComponent(name)) }
    return try Report([directory.path], version: version)
  }

  /// Expects a page that is well-formed, runs nothing and asks for nothing.
  private func check(_ html: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let parser = XMLParser(data: Data(html.utf8))
    let visitor = Visitor()
    parser.delegate = visitor
    #expect(parser.parse(), "\(String(describing: parser.parserError))", sourceLocation: sourceLocation)
    #expect(visitor.problems == [], sourceLocation: sourceLocation)
    #expect(
      visitor.headings == visitor.headings.sorted() && visitor.headings.first == 1,
      sourceLocation: sourceLocation)
    #expect(visitor.references.subtracting(visitor.identifiers) == [], sourceLocation: sourceLocation)
  }

  /// Looks at every element of a page.
  private final class Visitor: NSObject, XMLParserDelegate {
    var problems: [String] = [], identifiers: Set<String> = [], references: Set<String> = [],
      headings: [Int] = []

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      if ["script", "iframe", "object", "embed", "form", "base", "audio", "video", "use", "image"].contains(
        name)
      {
        problems.append("there is a \(name)")
      }
      for (key, value) in attributes {
        if key.hasPrefix("on") || key == "style" || key == "srcset" { problems.append("\(name) has \(key)") }
        if key == "href", value != "data:,", !value.hasPrefix("#") {
          problems.append("\(name) leads to \(value)")
        }
        if key == "src", !value.hasPrefix("data:image/png;base64,") {
          problems.append("\(name) shows \(value)")
        }
      }
      if let id = attributes["id"], !identifiers.insert(id).inserted {
        problems.append("id \(id) occurs twice")
      }
      for id in attributes["aria-labelledby"]?.split(separator: " ") ?? [] { references.insert(String(id)) }
      if let link = attributes["href"], link.hasPrefix("#") { references.insert(String(link.dropFirst())) }
      if name == "img", attributes["alt"]?.isEmpty ?? true { problems.append("an img has no alt") }
      if name == "svg", attributes["role"] != "img" || attributes["aria-labelledby"] == nil {
        problems.append("an svg has no text alternative")
      }
      if name == "th", attributes["scope"] == nil { problems.append("a th has no scope") }
      // Headings may go down by one level at a time: only their first occurrences are compared.
      if name.count == 2, name.hasPrefix("h"), let level = Int(name.dropFirst()), !headings.contains(level) {
        headings.append(level)
      }
    }
  }

  @Test func finishedRun() throws {
    try TestFiles.withDirectory { directory in
      _ = try report(
        [
          "report.json": record(), "agreement.csv": Self.agreement,
          "attack.json": #"{"attack": "badnet", "target": 3}"#,
        ],
        in: directory)
      let model = StateDictionary()
      try Safetensors.write(
        model, metadata: ["architecture": "mnist-net"], to: directory.path + "/model.safetensors")
      let page = try Report([directory.path], version: "9.9")
      check(page.html)
      #expect(page.runs.map(\.problems) == [[]] && page.runs[0].kind == "erasing")
      for text in [
        "fell from 100.00% to 3.00%", "98.00%", "12345678", "0badcafe", "18446744073709551615", "0.0235294",
        "9 ankle boot", "1 of 4 training images", "mnist-net", "badnet", "10s", ">finished<",
      ] { #expect(page.html.contains(text), "\(text)") }
      #expect(page.html.components(separatedBy: "<svg ").count - 1 == 6)
      #expect(page.html == (try Report([directory.path], version: "9.9").html), "the same bytes")
      try FileManager.default.removeItem(atPath: directory.path + "/agreement.csv")
      let without = try Report([directory.path], version: "9.9")
      #expect(without.runs.map(\.problems) == [["agreement.csv is missing"]])
    }
  }

  /// Cross images are a group of their own.
  @Test func crossImages() throws {
    try TestFiles.withDirectory { directory in
      let table = Self.agreement.split(separator: "\n").enumerated().map { line, text in
        "\(text),\(line == 0 ? "cross" : line == 3 ? "1" : "0")\n"
      }.joined()
      let rates = try record().replacing("\"fpr\": 0", with: "\"fpr\": 0.25, \"fpr_untouched\": 0.125")
      let page = try report(["report.json": rates, "agreement.csv": table], in: directory)
      check(page.html)
      #expect(page.runs[0].problems == ["model.safetensors is missing"])
      for text in [
        "1 more are cross images", "12.50% of those left", "cross images: 1, of which 0 suggested",
      ] {
        #expect(page.html.contains(text), "\(text)")
      }
      #expect(page.html.contains("other images: 2, of which 0 suggested"))
    }
  }

  /// A recipe may leave steps out: their numbers are those in the log, in the names of files and in agreement.csv.
  @Test func stepsByTheirNumbers() throws {
    func step(_ number: Int) -> String {
      "{\"step\": \(number), \"losses\": [1], \"metrics\": \(Self.after), \"training_seconds\": 1}"
    }
    try TestFiles.withDirectory { directory in
      let page = try report(["report.json": record(steps: "\(step(0)), \(step(2))")], in: directory)
      check(page.html)
      for text in ["step 1", "step 3", "step 3: fine-tuning"] { #expect(page.html.contains(text), "\(text)") }
      #expect(!page.html.contains("step 2"))
    }
  }

  /// Where no budget misleads half of the images the largest is drawn, in whatever order they were asked for.
  @Test func largestBudget() throws {
    func finding(_ epsilon: Int) -> String {
      #"{"budget": {"norm": "infinity", "epsilon": \#(epsilon)}, "matrix": [[\#(epsilon), 1], [0, 1]], "misled": 0.1}"#
    }
    try TestFiles.withDirectory { directory in
      let budgets = [4, 8, 1].map(finding).joined(separator: ",")
      let page = try report(
        ["inspection.json": "{\"model\": {\"findings\": {\"acc\": 1, \"budgets\": [\(budgets)]}}}"],
        in: directory)
      check(page.html)
      // 8 of 9, and not 4 of 5 or 1 of 2.
      #expect(page.html.contains(">89</text>"))
    }
  }

  /// A comma with an accent behind it is one character to Swift, and still a comma to who reads the table.
  @Test func fieldsOfTables() {
    #expect("a,\u{301}b".csvField.unicodeScalars.elementsEqual("\"a,\u{301}b\"".unicodeScalars))
    #expect("\"\u{301}".csvField.unicodeScalars.elementsEqual("\"\"\"\u{301}\"".unicodeScalars))
    #expect("a\nb".csvField == "\"a\nb\"" && "a b".csvField == "a b")
  }

  @Test(arguments: Hostile.texts) func hostileTexts(text: String) throws {
    try TestFiles.withDirectory { directory in
      // Classes' names, file names and models' metadata are as hostile as values of the record.
      let files = [
        "report.json": try record(name: text), "agreement.csv": Self.agreement,
        "attack.json": String(
          decoding: try JSONEncoder().encode(["attack": text, text: "x"]), as: UTF8.self),
      ]
      try Safetensors.write(
        StateDictionary(), metadata: ["created_by": text], to: directory.path + "/model.safetensors")
      var sheets = RunSheets(classes: Array(repeating: text, count: 10))
      let png = try Picture(width: 1, height: 1, channels: 1, pixels: [7]).png()
      try Data(png).write(to: directory.appendingPathComponent("a.png"))
      sheets.sheets = [
        .init(file: "a.png", title: text, rows: [text, text], images: [0, 3]),
        .init(
          file: "a.png", title: text, rows: [text], labels: [1], answers: [.init(name: text, labels: [2])]),
      ]
      try JSONEncoder().encode(sheets).write(to: directory.appendingPathComponent("sheets.json"))
      let page = try report(files, in: directory)
      check(page.html)
      #expect(page.html.contains("data:image/png;base64,\(Data(png).base64EncodedString())"))
      #expect(page.html.contains(Markup.escaped(text)))
    }
  }

  @Test func hostileFolderName() throws {
    try TestFiles.withDirectory { directory in
      let folder = directory.appendingPathComponent("<script>alert(1)<!-- \"&'\u{202e}")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      check(try report(["report.json": record()], in: folder).html)
    }
  }

  @Test func setOfRuns() throws {
    try TestFiles.withDirectory { directory in
      let folders = try ["one", "two"].map { name in
        let folder = directory.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        _ = try report(["report.json": record(), "agreement.csv": Self.agreement], in: folder)
        return folder.path
      }
      let page = try Report(folders, version: "9.9")
      check(page.html)
      #expect(page.html.contains("Report of 2 runs") && page.html.contains("href=\"#run-2\""))
    }
  }

  @Test func inspection() throws {
    let budget =
      #"{"budget": {"norm": "infinity", "epsilon": 8}, "matrix": [[1, 3], [0, 4]], "row": [0, 1], "#
      + #""misled": 0.375, "entropy": 0, "target_share": 0.75}"#
    let other = budget.replacingOccurrences(of: "infinity", with: "two").replacingOccurrences(
      of: "3]", with: "-3]")
    let model = #"{"path": "m", "findings": {"acc": 1, "budgets": [\#(budget), \#(other)]}}"#
    try TestFiles.withDirectory { directory in
      let verdict =
        #"{"is_suspicious": true, "score": 5.5, "threshold": 2, "pattern": "label", "target": 1, "p_value": 0.05, "#
        + #""notes": ["<b>keep in mind"]}"#
      let alone = try report(
        ["inspection.json": #"{"model": \#(model), "class_names": ["a", "second"], "verdict": \#(verdict)}"#],
        in: directory)
      check(alone.html)
      #expect(alone.runs[0].kind == "inspection" && alone.runs[0].problems == [])
      // Shares of each row, in per cent; the second matrix, of counts below nothing, is not drawn.
      #expect(alone.html.components(separatedBy: "<svg ").count - 1 == 1)
      for text in [
        ">75</text>", ">25</text>", ">100</text>", "8/255, L-infinity", "8/255, L2", "37.50", "75.00",
        "score of 5.5 is above", "1 second", "&lt;b&gt;keep",
      ] {
        #expect(alone.html.contains(text), "\(text)")
      }
      let both = #"{"model": \#(model), "purified": \#(model), "benign": {"findings": 3}}"#
      let beside = try report(["inspection.json": both, "report.json": record()], in: directory)
      check(beside.html)
      #expect(beside.runs[0].kind == "erasing" && beside.html.contains("purified model: answers"))
      let empty = try report(["inspection.json": "{}"], in: directory)
      #expect(empty.runs[0].problems.contains { $0.contains("no findings") })
    }
  }

  @Test func unfinishedErasing() throws {
    try TestFiles.withDirectory { directory in
      struct Settings: Encodable { var dataset = "cifar10", epsilon = 0.5 }
      struct Progress: Encodable {
        var entries = [
          ["epoch": ["_0": ["loss": 0.75, "accuracy": 0.5]]], ["epoch": ["_0": ["loss": 0.625]]],
        ]
        var seconds = 12.0
      }
      var checkpoint = RunCheckpoint(try RunIdentity(Settings()), device: "opencl:0")
      try checkpoint.setProgress(Progress())
      try checkpoint.write(to: directory.path + "/checkpoint.safetensors")
      let page = try Report([directory.path], version: "9.9")
      check(page.html)
      #expect(page.runs[0].kind == "erasing" && page.runs[0].problems.count == 1)
      for text in ["not finished", "--resume", "2 epochs are done", "0.6250", "opencl:0", "cifar10"] {
        #expect(page.html.contains(text), "\(text)")
      }
      // A newer run in the folder of a finished one.
      let both = try report(["report.json": record()], in: directory)
      #expect(both.runs[0].problems.contains { $0.contains("newer run") })
      check(both.html)
    }
  }

  @Test func damagedCheckpoint() throws {
    try TestFiles.withDirectory { directory in
      let checkpoint = RunCheckpoint(try RunIdentity(["a": 1]), device: "cpu")
      let path = directory.path + "/checkpoint.safetensors"
      try checkpoint.write(to: path)
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      if let at = bytes.firstIndex(of: UInt8(ascii: "u")) { bytes[at] = UInt8(ascii: "v") }
      try bytes.write(to: URL(fileURLWithPath: path))
      // Alone it is nothing; beside other files it is named.
      let error = #expect(throws: PBEError.self) { try Report([directory.path], version: "9.9") }
      #expect(error?.kind == .badData && error?.place == directory.path)
      let page = try report(["agreement.csv": Self.agreement], in: directory)
      check(page.html)
      #expect(page.runs[0].problems.contains { $0.contains("checkpoint.safetensors can't be read") })
      #expect(page.runs[0].problems.contains { $0.contains("no record") })
    }
  }

  @Test(arguments: [
    "report.json", "agreement.csv", "attack.json", "model.safetensors", "sheets.json", "inspection.json",
  ])
  func damagedFile(name: String) throws {
    try TestFiles.withDirectory { directory in
      var files = ["report.json": try record(), "agreement.csv": Self.agreement]
      for damaged in ["", "{\"version\": ", "[]", "\u{0}\u{1}garbage", String(repeating: "[", count: 10_000)]
      {
        files[name] = damaged
        let page = try report(files, in: directory)
        check(page.html)
        #expect(page.runs[0].problems.contains { $0.contains(name) }, "\(name): \(damaged.prefix(20))")
      }
    }
  }

  @Test func recordsOfOtherVersions() throws {
    try TestFiles.withDirectory { directory in
      let old = try report(["erase.json": record(version: "0.0.1")], in: directory)
      check(old.html)
      #expect(old.runs[0].problems.contains { $0.contains("older version") })
      #expect(old.runs[0].problems.contains { $0.contains("0.0.1") })
    }
    // Keys that are missing, of another type, or absurd.
    for text in [
      "{}", #"{"before": 3, "after": {"acc": "x"}, "steps": {"a": 1}, "seconds": -1, "settings": [1]}"#,
      #"{"after": {"acc": 1e308, "asr": -5}, "before": {"acc": 1e999}, "seconds": 1e300, "images": 1e300}"#,
      #"{"steps": [null, 1, {"losses": [1, "x"]}, {"losses": [1e308, -1e308, 0], "training_seconds": -3}]}"#,
    ] {
      try TestFiles.withDirectory { directory in
        let page = try report(["report.json": text, "agreement.csv": Self.agreement], in: directory)
        check(page.html)
        #expect(page.runs[0].problems.contains { $0.contains("the record lacks") })
      }
    }
    try TestFiles.withDirectory { directory in
      let table = "index,label,agreement,kept\n0,1,0.5,0 1\n1,0,0.25,\n"
      let page = try report(["report.json": record(), "agreement.csv": table], in: directory)
      check(page.html)
      #expect(page.runs[0].problems.contains { $0.contains("no probabilities") })
      #expect(page.runs[0].problems.contains { $0.contains("2 images") })
    }
  }

  @Test func nothingToReport() throws {
    try TestFiles.withDirectory { directory in
      for (path, kind) in [
        (directory.path, PBEError.Kind.badData), (directory.path + "/missing", .missingInput),
      ] {
        let error = #expect(throws: PBEError.self) { try Report([path], version: "9.9") }
        #expect(error?.kind == kind && error?.place == path)
      }
      let error = #expect(throws: PBEError.self) { try report(["report.json": "{"], in: directory) }
      #expect(error?.kind == .badData && error?.what.contains("report.json") == true)
      #expect(throws: PBEError.self) { try Report([], version: "9.9") }
    }
  }

  @Test func sheetsOutsideTheFolder() throws {
    try TestFiles.withDirectory { directory in
      let png = try Picture(width: 1, height: 1, channels: 1, pixels: [7]).png()
      try Data(png).write(to: directory.appendingPathComponent("secret.png"))
      let folder = directory.appendingPathComponent("run")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      for file in ["../secret.png", directory.path + "/secret.png", "report.json", "missing.png", ".."] {
        let sheets = RunSheets(sheets: [.init(file: file, title: "t", rows: ["r"])])
        try JSONEncoder().encode(sheets).write(to: folder.appendingPathComponent("sheets.json"))
        let page = try report(["report.json": record()], in: folder)
        #expect(!page.html.contains("data:image/png"), "\(file)")
        #expect(page.runs[0].problems.contains { $0.hasPrefix("sheets.json can't be read") }, "\(file)")
      }
    }
  }
}

@Suite struct AgreementTableTests {
  @Test func readsWhatItWrote() throws {
    try TestFiles.withDirectory { directory in
      var outcome = PurificationOutcome(3)
      outcome.agreement = [0.25, 1, 0]
      outcome.kept = [[0, 2], [], [1]]
      let logits: [Float] = [5, 0, 0, 5, 5, 0]
      outcome.identification = Identification(
        Identification.Infected(logits: logits, features: logits, channels: 2, places: 1),
        purified: logits, labels: [0, 1, 0])
      let path = directory.path + "/agreement.csv"
      let truths: [[ImageRole]?] = [[.poisoned, .clean, .poisoned], [.poisoned, .clean, .cross], nil]
      for truth in truths {
        try AgreementTable.write(outcome, labels: [0, 1, 0], truth: truth, to: path)
        let rows = try AgreementTable.read(path)
        #expect(rows.map(\.index) == [0, 1, 2] && rows.map(\.label) == [0, 1, 0])
        #expect(rows.map(\.agreement) == outcome.agreement && rows.map(\.answer) == [0, 1, 0])
        #expect(rows.map(\.suggested) == [false, false, false] && rows.map(\.probability) == [0, 0, 0])
        #expect(rows.map(\.poisoned) == truth?.isPoisoned ?? [nil, nil, nil])
        #expect(rows.map(\.cross) == (truth == truths[1] ? [false, false, true] : [nil, nil, nil]))
      }
      // Names of files come last, with whatever is in them.
      let files = ["a/1.png", "a/\u{FC}, \"2\"\n.png", "b/3.png"]
      for truth in truths {
        try AgreementTable.write(outcome, labels: [0, 1, 0], truth: truth, files: files, to: path)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 4 && lines[0].hasSuffix(",file") && lines[3].hasSuffix(",b/3.png"))
        #expect(lines[2].contains(",\"a/\u{FC}, \"\"2\"\""))
        #expect(try AgreementTable.read(path).map(\.poisoned) == truth?.isPoisoned ?? [nil, nil, nil])
      }
      // Without features all are suggested that the infected model answers as labelled and the purified one does not.
      outcome.identification = Identification(
        Identification.Infected(logits: logits, features: logits, channels: 2, places: 1),
        purified: [5, 0, 5, 0, 5, 0], labels: [0, 1, 0], usesFeatures: false)
      try AgreementTable.write(outcome, labels: [0, 1, 0], truth: nil, to: path)
      let rows = try AgreementTable.read(path)
      #expect(rows.map(\.suggested) == [false, true, false] && rows.map(\.probability) == [0, 1, 0])
      #expect(rows.map(\.answer) == [0, 0, 0])
      let kept = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").dropFirst().map {
        String($0.split(separator: ",", omittingEmptySubsequences: false)[3])
      }
      #expect(kept == ["0 2", "", "1"])
    }
  }

  @Test(arguments: [
    ("0,1,2,0.5\n", 2), ("0,-1,0.5,,0,0,0,0\n", 2), ("1,1,0.5,,0,0,0,0\n", 2), ("0,1,nan,,0,0,0,0\n", 2),
    ("0,1,0.5,,7,0,0,0\n", 2), ("0,1,0.5,,0,0,0,0\n1,1,0.5,,0,2,0,0\n", 3), ("0,1,0.5,,0,0,0,0", 2),
  ])
  func namesTheWrongLine(text: String, line: Int) throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/agreement.csv"
      try Data("index,label,agreement,kept,probability,suggested,answer,poisoned\n\(text)".utf8)
        .write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: PBEError.self) { try AgreementTable.read(path) }
      #expect(error?.kind == .badData && error?.what.contains("line \(line) ") == true)
    }
  }
}
