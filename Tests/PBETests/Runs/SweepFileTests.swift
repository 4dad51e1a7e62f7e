import Foundation
import Kernels
import Testing

@testable import PBE

@Suite("Sweep files")
struct SweepFileTests {
  private func load(_ text: String) throws -> SweepFile {
    try TestFiles.withDirectory { directory in
      try AtomicFile.write(text, to: directory.path + "/plan.yaml")
      return try SweepFile.load(directory.path + "/plan.yaml")
    }
  }

  private static let example = """
    defaults: {width: 16, epochs: 20, nesterov: true, mean: [0.5, 0.25], weight-decay: 0.1}
    variables: {DATA: here}
    axes:
      dataset:
        cifar10: {dataset: cifar10, data: "${DATA}/cifar"}
        gtsrb: {dataset: gtsrb, data: "${DATA}/${dataset}", weight-decay: null}
      attack: [none, badnet]
      seed: [0, 1]
    exclude:
      - {attack: none, seed: 1}
      - {dataset: gtsrb, attack: [badnet]}
    include:
      - {dataset: gtsrb, attack: [none, badnet], seed: 2, options: {epochs: 3, nesterov: false, parameter: [a=1, "b=${seed}"]}}
      - {dataset: cifar10, attack: none, seed: 0, options: {epochs: 30}}
    baseline: {attack: none, seed: 0}
    """

  @Test func matrix() throws {
    let file = try load(Self.example)
    #expect(file.name == "plan" && file.cells[0].command == "infect" && file.output == "runs/plan")
    #expect(
      file.cells.map(\.name) == [
        "cifar10-none-seed0", "cifar10-badnet-seed0", "cifar10-badnet-seed1", "gtsrb-none-seed0",
        "gtsrb-none-seed2", "gtsrb-badnet-seed2",
      ])
    #expect(file.baseline == ["attack": "none", "seed": "0"])
    func arguments(_ at: Int) throws -> [String] {
      try file.cells[at].arguments { ["DATA": "D"][$0] ?? file.variables[$0] }
    }
    #expect(
      try arguments(0) == [
        "--attack=none", "--data=D/cifar", "--dataset=cifar10", "--epochs=30", "--mean=0.5,0.25",
        "--nesterov",
        "--seed=0", "--weight-decay=0.1", "--width=16",
      ])
    #expect(
      try arguments(5) == [
        "--attack=badnet", "--data=D/gtsrb", "--dataset=gtsrb", "--epochs=3", "--mean=0.5,0.25",
        "--parameter=a=1", "--parameter=b=2", "--seed=2", "--width=16",
      ])
    let error = #expect(throws: PBEError.self) { try file.cells[0].arguments { _ in nil } }
    #expect(error?.kind == .usage && error?.description.contains("variable DATA") ?? false)
  }

  @Test(arguments: [
    ("", "empty"), ("[1, 2", "line"), ("- a", "mapping"),
    ("axes: {a: [1]}\nwidth: 3", "line 2: width is unknown"),
    ("defaults: {width: 3}", "no axes"), ("axes: {a: []}", "labels"), ("axes: {a: [1, 1]}", "once"),
    ("axes: {a: [x/y]}", "\"x/y\" is no name"), ("axes: {a: [..]}", "no name"),
    ("axes: {a: [1]}\nexclude: [{b: 1}]", "b is no axis"), ("axes: {a: [1]}\nexclude: [{a: 2}]", "no label"),
    ("axes: {a: [1]}\nexclude: [{a: 1}]", "no cells"), ("axes: {a: [1]}\nexclude: [{}]", "names no axis"),
    ("axes: {a: [1, 2], b: [1]}\ninclude: [{b: 1}]", "which a"),
    ("axes: {a: {x: {output: y}}}", "for the sweep"), ("defaults: {--width: 3}\naxes: {a: [1]}", "no option"),
    ("axes: {a: [1]}\nbaseline: {a: [1, 1]}", "one label"),
    ("axes: {a: [1]}\noutput: \"\"", "line 2: output should name"),
    ("axes: {a: [1]}\naxes: {a: [1]}", "a mapping has axes twice"),
    ("axes:\n  a: [1]\n  a: [2]", "line 2: "),
    ("a: &a [1]\nb: *c", "line"),
    ("axes: {a: {x: {}, x-y: {}}, b: {y-z: {}, z: {}}}", "two cells the name x-y-z: {a: x, b: y-z}"),
    ("axes: {a: [x], b: [y-z]}\ninclude: [{a: x-y, b: z}]", "two cells the name x-y-z"),
    (Self.manyAliases, "aliases"),
    ("axes: {a: [1], b: [1]}\ninclude: [{a: \(Self.manyLabels), b: \(Self.manyLabels)}]", "too many cells"),
  ]) func mistakes(text: String, part: String) throws {
    let error = #expect(throws: PBEError.self) { try load(text) }
    #expect(error?.kind == .badData)
    #expect(error?.description.contains(part) ?? false, "\(String(describing: error))")
  }

  /// As a key, it would be compared for centuries.
  private static let manyAliases =
    "a0: &a0 [x, x]\n" + (1..<40).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined()
    + "? *a39\n: 1\n"
  private static let manyLabels = "[\((0..<3000).map(String.init).joined(separator: ","))]"

  private static let chain = """
    defaults: {dataset: mnist, data: here}
    axes:
      attack: [badnet, blend]
      defense: {paper: {recipe: paper}, aft: {method: aft}}
      seed: [0, 1]
    exclude: [{attack: blend, seed: 1}]
    steps:
      infect: {axes: [attack, seed]}
      before: {command: evaluate, options: {model: "${infect}/model.safetensors", seed: null}}
      erase:
        axes: [defense]
        options: {model: "${infect}/model.safetensors", attack: "${infect}/attack.json", seed: "${seed}"}
      report: {options: {arguments: ["${erase}", "${infect}"]}}
    """

  /// An option that a step replaces or takes away refers to nothing there.
  @Test func stepsNeedWhatTheyName() throws {
    let file = try load(
      """
      defaults: {model: "${infect}/model.safetensors"}
      axes: {attack: {badnet: {reference: "${infect}/x"}}, seed: [0, 1]}
      steps:
        infect: {axes: [attack, seed], options: {model: null, reference: null}}
        evaluate: {}
        inspect: {axes: [attack], options: {model: m, reference: null}}
      """)
    func needs(_ step: String) -> [[String: String]] { file.cells.filter { $0.step == step }.map(\.needs) }
    #expect(needs("infect") == [[:], [:]])
    #expect(needs("evaluate") == [["infect": "infect/badnet-seed0"], ["infect": "infect/badnet-seed1"]])
    // It varies with nothing but the attack.
    #expect(needs("inspect") == [[:]])
  }

  /// A step is made once for all runs that agree on the axes that it depends on.
  @Test func chains() throws {
    let file = try load(Self.chain)
    #expect(file.steps == ["infect", "before", "erase", "report"])
    #expect(file.runs.count == 6)
    #expect(file.runs[0].name == "badnet-paper-seed0")
    func names(_ run: Int) -> [String] { file.runs[run].cells.map { file.cells[$0].name } }
    #expect(
      names(0) == [
        "infect/badnet-seed0", "before/badnet-seed0", "erase/badnet-paper-seed0", "report/badnet-paper-seed0",
      ])
    #expect(names(2).prefix(2) == ["infect/badnet-seed0", "before/badnet-seed0"])
    #expect(file.cells.count == 3 + 3 + 6 + 6)
    for (place, cell) in file.cells.enumerated() {
      for need in cell.needs.values {
        #expect(file.cells[..<place].contains { $0.name == need }, "\(cell.name) before \(need)")
      }
    }
    let erase = try #require(file.cells.first { $0.name == "erase/badnet-aft-seed1" })
    #expect(erase.needs == ["infect": "infect/badnet-seed1"])
    func arguments(_ cell: SweepCell) throws -> [String] {
      try cell.arguments { name in cell.needs[name].map { "out/\($0)" } }
    }
    // Of the axes only those that the step names give options.
    #expect(
      try arguments(erase) == [
        "--attack=out/infect/badnet-seed1/attack.json", "--data=here", "--dataset=mnist", "--method=aft",
        "out/infect/badnet-seed1/model.safetensors", "--seed=1",
      ])
    let report = try #require(file.cells.last)
    #expect(report.command == "report" && report.name == "report/blend-aft-seed0")
    #expect(
      try arguments(report) == [
        "out/erase/blend-aft-seed0", "out/infect/blend-seed0", "--data=here", "--dataset=mnist",
      ])
  }

  @Test(arguments: [
    ("steps: {a: {}}\naxes: {a: [1]}", "name of an axis"), ("steps: {s: {axes: [b]}}\naxes: {a: [1]}", "b"),
    ("steps: {}\naxes: {a: [1]}", "needs steps"),
    ("command: infect\nsteps: {s: {}}\naxes: {a: [1]}", "command"),
    (
      "steps: {s: {options: {model: '${t}'}}, t: {}}\naxes: {a: [1]}",
      "the step t, which does not come before"
    ),
    ("steps: {s: {options: {model: '${s}'}}}\naxes: {a: [1]}", "the step s"),
    ("steps: {s: {width: 3}}\naxes: {a: [1]}", "s, width is unknown"),
    ("steps: {s: {}}\naxes: {a: [1]}\ninclude: [{a: 1, options: {width: 3}}]", "can't set options"),
    (
      "axes: {a: {x: {}, x-y: {}}, b: {y-z: {}, z: {}}}\nsteps: {s: {axes: [a, b]}}",
      "two cells the name s/x-y-z"
    ),
    (
      "axes: {a: [1], b: [1]}\ninclude: [{a: \(manyLabels), b: \(manyLabels)}]\nsteps: {s: {axes: [a, b]}}",
      "too many cells"
    ),
    ("axes: {}", "at least one axis"), ("steps: {../s: {}}\naxes: {a: [1]}", "no name"),
  ]) func mistakesInChains(text: String, part: String) throws {
    let error = #expect(throws: PBEError.self) { try load(text) }
    #expect(
      error?.kind == .badData && error?.description.contains(part) ?? false, "\(String(describing: error))")
  }

  @Test func tooManyCells() throws {
    let axis = "[\((0..<200).map(String.init).joined(separator: ","))]"
    let axes = (0..<12).map { "a\($0): \(axis)" }.joined(separator: ", ")
    let error = #expect(throws: PBEError.self) { try load("axes: {\(axes)}") }
    #expect(error?.description.contains("more than 10000 cells") ?? false)
    #expect(throws: PBEError.self) { try load(String(repeating: "[", count: 200_000)) }
  }

  @Test func states() throws {
    let file = try load(Self.example)
    try TestFiles.withDirectory { directory in
      let folder = SweepCellFolder(file.cells[0], output: directory.path)
      #expect(try folder.state == .missing)
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.write(status: nil)
      #expect(try folder.state == .started)
      try folder.write(status: 75, error: "interrupted")
      #expect(try folder.state == .started)
      try folder.write(status: 65, error: "bad")
      #expect(try folder.state == .failed && folder.record?.error == "bad")
      try correctedOptions(folder, in: directory.path)
      try folder.write(status: 0)
      try AtomicFile.write("{}", to: folder.recordPath)
      #expect(try folder.state == .started, "there is no model")
      try AtomicFile.write("", to: folder.path + "/model.safetensors")
      #expect(try folder.state == .finished)
      var other = file.cells[0]
      other.set(["epochs": .text("31")])
      #expect(try SweepCellFolder(other, output: directory.path).state == .changed)

      // Nothing is said of the time after the lock: a child process of another test may have inherited it.
      let running = SweepCellFolder(file.cells[1], output: directory.path)
      try FileManager.default.createDirectory(atPath: running.path, withIntermediateDirectories: true)
      let lock = try CellLock.take(running.path)
      #expect(lock != nil)
      #expect(try running.state == .running)
      #expect(try CellLock.take(running.path) == nil)
      withExtendedLifetime(lock) {}
    }
  }

  /// A cell that failed runs again with the options that its file has now, and not from the checkpoint of the others. One that
  /// was interrupted keeps its work, and is refused.
  private func correctedOptions(_ failed: SweepCellFolder, in directory: String) throws {
    var cell = failed.cell
    cell.set(["epochs": .text("31")])
    let corrected = SweepCellFolder(cell, output: directory)
    let checkpoint = failed.path + "/checkpoint.safetensors"
    try AtomicFile.write("work", to: checkpoint)
    #expect(try corrected.state == .failed)
    #expect(try !failed.forgetOtherRun() && FileManager.default.fileExists(atPath: checkpoint))
    // Nor is a record of the other options taken for one of these.
    try AtomicFile.write("{}", to: failed.recordPath)
    #expect(try corrected.forgetOtherRun() && !FileManager.default.fileExists(atPath: checkpoint))
    #expect(!FileManager.default.fileExists(atPath: failed.recordPath))
    for status in [nil, Int32(75)] {
      try failed.write(status: status)
      #expect(try failed.state == .started && corrected.state == .changed)
    }
    try failed.write(status: 65, error: "bad")
  }

  /// What is kept names folders as the sweep does, since on another machine they are others.
  @Test func keptRecordsWithoutPaths() throws {
    let file = try load(Self.example)
    try TestFiles.withDirectory { directory in
      var folder = SweepCellFolder(
        file.cells[0], output: directory.path + "/runs", records: directory.path + "/records")
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.write(status: 0)
      folder.places = ["/a.b": ".", "/a.b/data": "${DATA}"]
      try AtomicFile.write(
        #"{"x": ["/a.b/data/c", "/a.b/data", "/a.b/database/c", "/axb/c", "at /a.b/c"], "y": "{\"z\": \"/a.b/c\"}"}"#,
        to: folder.recordPath)
      try AtomicFile.write("", to: folder.path + "/model.safetensors")
      try folder.keep()
      let kept = try String(contentsOfFile: #require(folder.keptPath), encoding: .utf8)
      #expect(
        kept.contains(
          #"{"x": ["${DATA}/c", "${DATA}", "./database/c", "/axb/c", "at /a.b/c"], "y": "{\"z\": \"./c\"}"}"#),
        "\(kept)")
    }
  }

  /// A record outlives its folder, and belongs to the options that made it.
  @Test func keptRecords() throws {
    let file = try load(Self.example)
    try TestFiles.withDirectory { directory in
      let (output, records) = (directory.path + "/runs", directory.path + "/records")
      try FileManager.default.createDirectory(atPath: records, withIntermediateDirectories: true)
      let folder = SweepCellFolder(file.cells[0], output: output, records: records)
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.keep()
      #expect(try folder.state == .missing, "there is nothing to keep yet")
      try folder.write(status: 0)
      try AtomicFile.write("", to: folder.path + "/model.safetensors")
      try AtomicFile.write(#"{"metrics": {"acc": 0.85}, "seconds": 3}"#, to: folder.recordPath)
      try folder.keep()
      #expect(try folder.state == .finished)
      // What is damaged does not take the place of what is kept.
      let path = try #require(folder.keptPath)
      let kept = FileManager.default.contents(atPath: path)
      try AtomicFile.write("", to: folder.recordPath)
      #expect { try folder.keep() } throws: { ($0 as? PBEError)?.kind == .badData }
      #expect(FileManager.default.contents(atPath: path) == kept)
      try AtomicFile.write(#"{"metrics": {"acc": 0.85}, "seconds": 4}"#, to: folder.recordPath)
      try AtomicFile.write("{", to: folder.path + "/cell.json")
      #expect { try folder.state } throws: { ($0 as? PBEError)?.kind == .badData }
      // Nobody knows the options of a run that the sweep did not make.
      try FileManager.default.removeItem(atPath: folder.path + "/cell.json")
      try folder.keep()
      #expect(try folder.state == .finished && FileManager.default.contents(atPath: path) == kept)
      try folder.write(status: 0)
      try folder.keep()
      #expect(FileManager.default.contents(atPath: path) != kept)
      let values = try folder.values(.finished)
      try FileManager.default.removeItem(atPath: folder.path)
      #expect(try folder.state == .recorded)
      #expect(try folder.values(.recorded) == values && values["metrics.acc"]?.text == "0.85")
      let results = try SweepResults(file, output: output, records: records)
      #expect(results.rows[0].state == .recorded && results.markdown.contains("| 85.00 |"))
      var other = file.cells[0]
      other.set(["epochs": .text("31")])
      #expect(
        try SweepCellFolder(other, output: output, records: records).state == .changed)
      // A damaged record is not taken for none.
      try AtomicFile.write("{}", to: path)
      #expect { try folder.state } throws: { ($0 as? PBEError)?.kind == .badData }
    }
  }

  /// Of many cells that were never begun the table says how many, and it still names those that were.
  @Test func manyMissingCells() throws {
    let file = try load("axes: {seed: [\((0..<30).map(String.init).joined(separator: ","))]}")
    try TestFiles.withDirectory { directory in
      let folder = SweepCellFolder(file.cells[3], output: directory.path)
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.write(status: 70, error: "bad")
      let table = try SweepResults(file, output: directory.path).markdown
      #expect(table.contains("Not there yet: seed3 (failed), 29 of 30 cells"), "\(table)")
    }
  }

  /// An inspection's record is kept and shown as others are; a page has none, and its cell is named.
  @Test func recordsOfOtherCommands() throws {
    let inspections = try load(
      "command: inspect\naxes: {seed: [0, 1]}\ndefaults: {model: m, dataset: mnist, data: d}")
    try TestFiles.withDirectory { directory in
      let folder = SweepCellFolder(
        inspections.cells[1], output: directory.path, records: directory.path + "/records")
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.write(status: 0)
      #expect(try folder.state == .started, "there is no inspection.json")
      try AtomicFile.write(
        #"{"model": {"findings": {"acc": 0.75, "asr": 1}}}"#, to: folder.path + "/inspection.json")
      try folder.keep()
      try FileManager.default.removeItem(atPath: folder.path)
      #expect(try folder.state == .recorded)
      let table = try SweepResults(
        inspections, output: directory.path, records: directory.path + "/records"
      ).markdown
      #expect(
        table.hasPrefix("| seed | ACC | ASR |\n| --- | --- | --- |\n| 1 | 75.00 | 100.00 |\n"), "\(table)")
    }
    let page = try load("command: report\naxes: {seed: [0]}\ndefaults: {arguments: [runs/a]}")
    try TestFiles.withDirectory { directory in
      let folder = SweepCellFolder(page.cells[0], output: directory.path)
      try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
      try folder.write(status: 0)
      #expect(
        try SweepResults(page, output: directory.path).markdown.hasPrefix("| cell |\n| --- |\n| seed0 |\n"))
    }
  }

  @Test func tables() throws {
    let file = try load(Self.example)
    try TestFiles.withDirectory { directory in
      for (at, json) in [
        (0, #"{"metrics": {"acc": 0.9}, "seconds": 12.3, "device": "cpu", "history": [1]}"#),
        (1, #"{"metrics": {"acc": 0.885, "asr": 1, "ra": 0}, "seconds": 9, "device": "a,\n  \"b|\r\n"}"#),
      ] {
        let folder = SweepCellFolder(file.cells[at], output: directory.path)
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
        try AtomicFile.write(json, to: folder.recordPath)
        try AtomicFile.write("", to: folder.path + "/model.safetensors")
      }
      let results = try SweepResults(file, output: directory.path)
      let lines = results.markdown.split(separator: "\n").map(String.init)
      #expect(
        lines.prefix(4) == [
          "| dataset | attack | seed | ACC | ACC, difference | ASR | RA | seconds |",
          "| --- | --- | --- | --- | --- | --- | --- | --- |",
          "| cifar10 | none | 0 | 90.00 | - | - | - | 12 |",
          "| cifar10 | badnet | 0 | 88.50 | -1.50 | 100.00 | 0.00 | 9 |",
        ])
      #expect(lines.last?.hasPrefix("Not there yet: cifar10-badnet-seed1, gtsrb-none-seed0,") ?? false)
      let csv = results.csv.split(separator: "\n").map(String.init)
      #expect(
        csv[0]
          == "cell,state,axis.dataset,axis.attack,axis.seed,device,metrics.acc,metrics.asr,metrics.ra,seconds"
      )
      #expect(csv[2] == "cifar10-badnet-seed0,finished,cifar10,badnet,0,\"a, \"\"b|\",0.885,1,0,9")
      #expect(csv.count == 7 && csv[6] == "gtsrb-badnet-seed2,missing,gtsrb,badnet,2,,,,,")

      let once = try results.inserted(into: "# Results\n", path: "r.md")
      #expect(once.hasPrefix("# Results\n\n## Sweep plan\n\n<!-- sweep plan: begin -->\n\n| dataset"))
      #expect(try results.inserted(into: once, path: "r.md") == once)
      let around = "a <!-- sweep plan: begin --> old <!-- sweep plan: end --> b"
      let replaced = try results.inserted(into: around, path: "r.md")
      #expect(replaced.hasPrefix("a <!-- ") && replaced.hasSuffix("end --> b") && !replaced.contains("old"))
      // Between markers that are not a pair is text of others.
      let (begin, end) = ("<!-- sweep plan: begin -->", "<!-- sweep plan: end -->")
      for text in [begin, end, "\(end)\(begin)", "\(begin)\(begin)\(end)", "\(begin)\(end)\(end)"] {
        let error = #expect(throws: PBEError.self) { try results.inserted(into: text, path: "r.md") }
        #expect(error?.kind == .badData && error?.place == "r.md")
      }

      try AtomicFile.write("{", to: directory.path + "/cifar10-none-seed0/infect.json")
      #expect(throws: PBEError.self) { try SweepResults(file, output: directory.path) }
    }
  }
}
