import Foundation

/// The parts of a run's report.
struct SectionBuilder {
  let run: RunFolder
  /// The run's, which begins the parts'.
  let id: String

  init(_ run: RunFolder, id: String) {
    self.run = run
    self.id = id
  }

  /// The name of a class.
  func name(ofClass label: Int) -> String {
    let names = run.classes ?? run.dataset?.classNames ?? []
    guard names.indices.contains(label), names[label] != String(label) else { return String(label) }
    return "\(label) \(names[label])"
  }

  // MARK: - Results

  /// The metrics of each stage, and the losses.
  var results: SectionView {
    var section = SectionView(id: "\(id)-results", title: "Result")
    let stages = run.stages
    let metrics = Rates.present(in: stages.map(\.rates))
    if !stages.isEmpty {
      let shown = metrics.filter { ["ASR", "ACC", "RA"].contains($0.name) }
      let what = run.kind == .infection ? "after each epoch" : "after each step"
      section.figures.append(
        FigureView(
          LineChart(
            title: "The model on the test set, \(what), in per cent", stages: stages.map(\.name),
            series: shown.map { metric in
              .init(name: metric.name, values: stages.map { metric.value($0.rates) })
            },
            isRate: true), id: "\(id)-rates"))
    }
    if run.losses.count > 1 { section.figures.append(FigureView(lossChart, id: "\(id)-losses")) }
    // An infection may have hundreds of epochs: the last ones tell.
    let rows = stages.suffix(24)
    if !rows.isEmpty {
      section.tables.append(
        TableView(
          caption: "Metrics in per cent"
            + (rows.count < stages.count ? ", the last \(rows.count) epochs" : ""),
          corner: run.kind == .infection ? "epoch" : "stage", columns: metrics.map(\.name),
          rows: rows.map { stage in
            TableView.Row(name: stage.name, cells: metrics.map { Rates.percent($0.value(stage.rates)) })
          }))
    }
    if let steps = stepTable { section.tables.append(steps) }
    return section
  }

  private var lossChart: LineChart {
    let losses = run.losses
    let steps = Set(losses.map(\.step)).sorted()
    // More names have no room above the chart.
    let series =
      (2...6).contains(steps.count)
      ? steps.map { step in
        LineChart.Series(
          name: "step \(step)", values: losses.map { $0.step == step ? $0.loss : nil })
      } : [LineChart.Series(name: "mean loss", values: losses.map(\.loss))]
    return LineChart(
      title: "Mean loss of each epoch", stages: losses.indices.map { String($0 + 1) }, series: series,
      isRate: false)
  }

  private var stepTable: TableView? {
    let steps = run.steps
    guard !steps.isEmpty else { return nil }
    func whole(_ value: StrictJSON?) -> String { value?.words ?? "-" }
    return TableView(
      caption: "What each step fine-tuned on", corner: "step",
      columns: ["images", "poisoned, %", "relabelled", "epochs", "AUROC of agreement", "suggested"],
      rows: steps.map { number, step in
        TableView.Row(
          name: String(number),
          cells: [
            whole(step["extra_set_size"]), Rates.percent(step["extra_set_poisoned"]?.number),
            whole(step["relabelled"]), String(step["losses"]?.elements.count ?? 0),
            step["agreement_auroc"]?.number.map { String(format: "%.4f", $0) } ?? "-",
            whole(step["identification"]?["suggested"]),
          ])
      })
  }

  // MARK: - Times

  /// Where the time went.
  var times: SectionView {
    var section = SectionView(id: "\(id)-times", title: "Time")
    guard let seconds = run.seconds, seconds > 0, run.record != nil, run.kind == .erasing else {
      return section
    }
    var phases: [(name: String, seconds: Double)] = []
    for (number, step) in run.steps {
      phases.append(("step \(number): fine-tuning", max(0, step["training_seconds"]?.number ?? 0)))
      phases.append(("step \(number): scoring", max(0, step["scoring_seconds"]?.number ?? 0)))
    }
    let rest = seconds - phases.reduce(0) { $0 + $1.seconds }
    // Clocks of resumed runs need not add up.
    phases.append(("measuring and the rest", max(0, rest)))
    section.figures.append(FigureView(TimeBars(phases: phases), id: "\(id)-phases"))
    section.text = "The whole run took \(seconds.asDuration), with the measurements after each step."
    return section
  }

  // MARK: - Settings

  /// What was done, with what.
  var settings: SectionView {
    var section = SectionView(id: "\(id)-settings", title: "What was done")
    if run.kind == .inspection, let inspection = run.inspection {
      section.lists = inspectionLists(inspection).compactMap { $0 }
      return section
    }
    let record = run.record
    func words(_ key: String) -> String? { record?[key]?.words }
    let settings = record?["settings"] ?? run.unfinished?.settings
    let leaves = (settings?.leaves ?? []).filter { $0.path != "attack" }
    let attack =
      run.attack
      ?? settings?["attack"]?.text.flatMap { try? StrictJSON.parse(Array($0.utf8)[...], place: "") }
    let lists = [
      ListView(
        "Run",
        [
          ("folder", run.path), ("method", words("method")), ("recipe", words("recipe")),
          ("version", words("version")),
          ("device", words("device") ?? run.unfinished?.device),
          ("device name", words("device_name")), ("driver", words("driver")),
          ("precision", words("precision")),
          ("seed", words("seed")), ("model", words("model")), ("training images", words("images")),
          ("poisoned", words("poisoned")), ("cross images", words("cross")), ("epochs", words("epochs")),
          ("time", run.seconds?.asDuration),
        ]),
      ListView(
        "Checksums (CRC-32)",
        [("all settings", words("settings_checksum")), ("training images", words("data_checksum"))]
          + leaves.filter { $0.path.hasSuffix("_checksum") }.map { ($0.path, $0.words) }),
      ListView(
        "Attack",
        (attack?.leaves ?? []).filter { !$0.path.hasPrefix("poisoned_set.") }.map { ($0.path, $0.words) }),
      ListView("Settings", leaves.filter { !$0.path.hasSuffix("_checksum") }.map { ($0.path, $0.words) }),
      ListView("Model file", (run.model ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }),
    ]
    section.lists = lists.compactMap { $0 }
    return section
  }
}

extension RunFolder {
  /// The data set.
  var dataset: DatasetKind? {
    let settings = record?["settings"] ?? unfinished?.settings
    let name =
      record?["dataset"]?.text ?? settings?["dataset"]?.text ?? model?["dataset"]
      ?? inspection?["dataset"]?.text
    return name.flatMap { DatasetKind(rawValue: $0) }
  }
}
