import Foundation

extension SectionBuilder {
  /// What models answer to adversarial examples, by `inspect`: a heat map per model, and a line per size of perturbations.
  var behaviour: SectionView {
    var section = SectionView(id: "\(id)-behaviour", title: "Adversarial examples")
    let models = run.inspectedModels
    guard !models.isEmpty else { return section }
    section.text =
      "Answers to untargeted adversarial examples of clean test images, which need no trigger: those of a backdoored model "
      + "tend to be the attacker's label."
    // The inspected model, which comes first, says which size tells most; the others are shown at the same.
    let size = models.first?.mostTelling?.size
    for model in models {
      guard let finding = model.findings.first(where: { $0.size == size }), let matrix = finding.shares else {
        continue
      }
      let names = matrix.indices.map(String.init)
      let chart = HeatMap(
        title:
          "\(model.name): answers to adversarial examples of \(finding.size), in per cent of each label's images",
        rowName: "true label", columnName: "answer", rows: names, columns: names, values: matrix)
      section.figures.append(FigureView(chart, id: "\(id)-matrix-\(model.key)"))
    }
    let rows = models.flatMap { model in
      model.findings.map { finding in
        TableView.Row(
          name: "\(model.name), \(finding.size)",
          cells: [
            Rates.percent(finding.json["misled"]?.number), finding.commonest.map(name(ofClass:)) ?? "-",
            Rates.percent(finding.commonest.flatMap { finding.row[$0] }),
            finding.json["entropy"]?.number.map { String(format: "%.2f", $0) } ?? "-",
            Rates.percent(finding.json["target_share"]?.number),
          ])
      }
    }
    section.tables.append(
      TableView(
        caption: "Wrong answers by size of the perturbation", corner: "model, size",
        columns: [
          "misled, %", "commonest wrong answer", "its share, %", "entropy, bits", "attacker's label, %",
        ],
        rows: rows))
    section.lists = [("verdict", "Verdict"), ("purified_verdict", "Verdict on the purified model")]
      .compactMap { key, title in run.inspection?[key].flatMap { verdict(title, $0) } }
    return section
  }

  /// What was inspected, and with what.
  func inspectionLists(_ json: StrictJSON) -> [ListView?] {
    func words(_ key: String) -> String? { json[key]?.words }
    let models = [("model", "Model"), ("benign", "Benign model"), ("purified", "Purified model")]
    return [
      ListView(
        "Run",
        [
          ("folder", run.path), ("version", words("version")), ("device", words("device")),
          ("precision", words("precision")), ("data set", words("dataset")),
          ("network", words("architecture")), ("width", words("width")),
          ("inspected images", words("images")), ("test images", words("test_images")),
        ]),
      ListView(
        "Checksums (CRC-32)",
        [("test images", words("data_checksum"))]
          + models.map { key, title in (title.lowercased(), json[key]?["checksum"]?.words) }),
    ]
      + models.map { key, title in
        json[key].flatMap { model in
          let findings = model["findings"]
          return ListView(
            title,
            [
              ("file", model["path"]?.words), ("ACC, %", findings?["acc"]?.number.map { Rates.percent($0) }),
              ("ASR, %", findings?["asr"]?.number.map { Rates.percent($0) }),
            ])
        }
      } + [
        ListView("Attack", (json["attack"]?.leaves ?? []).map { ($0.path, $0.words) }),
        ListView("Settings", (json["settings"]?.leaves ?? []).map { ($0.path, $0.words) }),
      ]
  }

  private func verdict(_ title: String, _ json: StrictJSON) -> ListView? {
    ListView(
      title,
      [
        ("suspicious", json["is_suspicious"]?.words), ("score", json["score"]?.words),
        ("threshold", json["threshold"]?.words), ("pattern", json["pattern"]?.words),
        ("target", json["target"]?.number.map { name(ofClass: Int(clamping: $0)) }),
        ("p-value", json["p_value"]?.words),
      ] + (json["notes"]?.elements ?? []).map { ("note", $0.words) })
  }
}

/// One of the models of `inspection.json`.
struct InspectedModel {
  /// Its key in the file, and its name on the page.
  let key: String, name: String
  /// By size of the perturbation.
  let findings: [Finding]

  /// What it answers to adversarial examples of one size.
  struct Finding {
    let json: StrictJSON
    /// Of wrong answers, the share of each label.
    let row: [Double]

    init(_ json: StrictJSON) {
      self.json = json
      row = json["row"]?.numbers ?? []
    }

    /// The size in words: `8/255, L-infinity`.
    var size: String {
      "\(epsilon.map { String(format: "%g", $0) } ?? "?")/255, \(isInfinity ? "L-infinity" : "L2")"
    }

    /// The size in 1/255.
    var epsilon: Double? { json["budget"]?["epsilon"]?.number }

    var isInfinity: Bool { json["budget"]?["norm"]?.text == "infinity" }

    /// The label that most wrong answers are.
    var commonest: Int? { row.indices.filter { row[$0] > 0 }.max { row[$0] < row[$1] } }

    /// The rows of the matrix as shares; `nil` unless it is a square of counts that fits a page.
    var shares: [[Double]]? {
      let counts = json["matrix"]?.elements.compactMap(\.numbers) ?? []
      guard (1...100).contains(counts.count),
        counts.allSatisfy({ $0.count == counts.count && $0.allSatisfy { $0 >= 0 } })
      else { return nil }
      return counts.map { row in
        let total = row.reduce(0, +)
        return row.map { total > 0 ? $0 / total : 0 }
      }
    }
  }

  /// Of the L-infinity budgets that mislead half of the images the one whose wrong answers are most alike: large
  /// perturbations lead anywhere. Where none does, the largest.
  var mostTelling: Finding? {
    func entropy(_ finding: Finding) -> Double { finding.json["entropy"]?.number ?? .infinity }
    let all = findings.filter(\.isInfinity)
    return all.filter { $0.json["misled"]?.number ?? 0 >= 0.5 }.min { entropy($0) < entropy($1) }
      ?? all.max { $0.epsilon ?? 0 < $1.epsilon ?? 0 } ?? findings.last
  }
}

extension RunFolder {
  /// The verdict of `inspect`, in words.
  var verdict: String? {
    guard let verdict = inspection?["verdict"], let score = verdict["score"]?.words,
      let threshold = verdict["threshold"]?.words, case .bool(let isSuspicious)? = verdict["is_suspicious"]
    else { return nil }
    return isSuspicious
      ? "The model is suspicious: its score of \(score) is above the threshold of \(threshold)."
      : "The model is not suspicious: its score of \(score) is not above the threshold of \(threshold). "
        + "That does not mean that it has no backdoor."
  }

  /// The models that were inspected.
  var inspectedModels: [InspectedModel] {
    [("model", "inspected model"), ("purified", "purified model"), ("benign", "benign model")].compactMap {
      key, name in
      let budgets = inspection?[key]?["findings"]?["budgets"]?.elements ?? []
      guard !budgets.isEmpty else { return nil }
      return InspectedModel(key: key, name: name, findings: budgets.map { InspectedModel.Finding($0) })
    }
  }
}
