import Foundation

extension SectionBuilder {
  // MARK: - Identification

  /// Which training images look poisoned, and how right that is.
  var identification: SectionView {
    var section = SectionView(id: "\(id)-images", title: "Training images")
    guard let rows = run.agreement, !rows.isEmpty else { return section }
    section.text = summary(rows)
    section.figures.append(
      FigureView(
        Histogram(
          title: "Agreement of infected and purified model", groups: groups(rows) { $0.agreement },
          threshold: nil),
        id: "\(id)-agreement"))
    if rows.contains(where: { $0.probability != nil }) {
      section.figures.append(
        FigureView(
          Histogram(
            title: "Probability of a trigger; above the dashed line an image is suggested to be poisoned",
            groups: groups(rows) { $0.probability ?? 0 }, threshold: Identification.suggestedAbove),
          id: "\(id)-probability"))
    }
    if let chart = roc(rows) { section.figures.append(FigureView(chart, id: "\(id)-roc")) }
    if let table = labelTable(rows) { section.tables.append(table) }
    return section
  }

  private func summary(_ rows: [AgreementTable.Row]) -> String {
    let suggested = rows.count { $0.suggested == true }
    let found = run.record?["identification"]
    var text =
      suggested == 0
      ? "None of \(rows.count) training images is suggested to be poisoned: nothing was found, which does not mean that "
        + "nothing is there."
      : "\(suggested) of \(rows.count) training images are suggested to be poisoned."
    let labels = found?["labels"]?.numbers ?? []
    if !labels.isEmpty {
      text += " Doubtful labels: \(labels.map { name(ofClass: Int(clamping: $0)) }.joined(separator: ", "))."
    }
    let (poisoned, cross) = (rows.count { $0.poisoned == true }, rows.count { $0.cross == true })
    if rows.contains(where: { $0.poisoned != nil }) { text += " \(poisoned) are poisoned." }
    if cross > 0 { text += " \(cross) more are cross images: changed, but not by their own trigger." }
    if let auroc = found?["auroc"]?.number, let tpr = found?["tpr"]?.number, let fpr = found?["fpr"]?.number {
      let untouched = found?["fpr_untouched"]?.number.map {
        " (\(Rates.percent($0))% of those left as they were)"
      }
      text +=
        " \(Rates.percent(tpr))% of the poisoned images and \(Rates.percent(fpr))% of the others\(untouched ?? "") are "
        + "suggested; by the log-odds, which agreement.csv rounds to probabilities, AUROC is \(String(format: "%.4f", auroc))."
    }
    return text
  }

  /// Poisoned, cross and other images apart, where the truth is known; else all together.
  private func groups(
    _ rows: [AgreementTable.Row], _ value: (AgreementTable.Row) -> Float
  ) -> [Histogram.Group] {
    func group(_ name: String, _ rows: [AgreementTable.Row]) -> Histogram.Group {
      Histogram.Group(
        name: name, plain: rows.filter { $0.suggested != true }.map(value),
        suggested: rows.filter { $0.suggested == true }.map(value))
    }
    guard rows.contains(where: { $0.poisoned != nil }) else { return [group("all training images", rows)] }
    let cross = rows.filter { $0.cross == true }
    return [group("poisoned images", rows.filter { $0.poisoned == true })]
      + (cross.isEmpty ? [] : [group("cross images", cross)])
      + [group("other images", rows.filter { $0.poisoned != true && $0.cross != true })]
  }

  private func roc(_ rows: [AgreementTable.Row]) -> ROCChart? {
    let truth = rows.compactMap(\.poisoned)
    guard truth.count == rows.count else { return nil }
    var curves = [
      ROCChart.Curve(name: "low agreement", scores: rows.map { -$0.agreement }, isPoisoned: truth)
    ]
    let probabilities = rows.compactMap(\.probability)
    if probabilities.count == rows.count {
      curves.append(
        ROCChart.Curve(name: "probability of a trigger", scores: probabilities, isPoisoned: truth))
    }
    let known = curves.compactMap { $0 }
    guard !known.isEmpty else { return nil }
    let positives = Double(truth.count { $0 })
    let hits = Double(rows.count { $0.poisoned == true && $0.suggested == true })
    let alarms = Double(rows.count { $0.poisoned == false && $0.suggested == true })
    let suggests = rows.contains { $0.suggested != nil }
    return ROCChart(
      curves: known,
      suggested: suggests ? (alarms / (Double(truth.count) - positives), hits / positives) : nil)
  }

  /// The labels that have suspects or poisoned images.
  private func labelTable(_ rows: [AgreementTable.Row]) -> TableView? {
    let byLabel = Dictionary(grouping: rows, by: \.label).sorted { $0.key < $1.key }
    let knowsTruth = rows.contains { $0.poisoned != nil }
    let concerned = byLabel.filter { _, images in
      images.contains { $0.suggested == true || $0.poisoned == true }
    }
    guard !concerned.isEmpty else { return nil }
    return TableView(
      caption: "Labels with suggested\(knowsTruth ? " or poisoned" : "") images, of \(byLabel.count)",
      corner: "label",
      columns: ["images", "suggested"] + (knowsTruth ? ["poisoned", "poisoned and suggested"] : [])
        + ["mean agreement"],
      rows: concerned.map { label, images in
        let truth = [
          images.count { $0.poisoned == true }, images.count { $0.poisoned == true && $0.suggested == true },
        ]
        let mean = images.reduce(0) { $0 + Double($1.agreement) } / Double(images.count)
        return TableView.Row(
          name: name(ofClass: label),
          cells: [String(images.count), String(images.count { $0.suggested == true })]
            + (knowsTruth ? truth.map(String.init) : []) + [String(format: "%.4f", mean)])
      })
  }

  // MARK: - Pictures

  /// The contact sheets.
  var pictures: SectionView {
    var section = SectionView(id: "\(id)-pictures", title: "Pictures")
    section.pictures = run.pictures.map(picture)
    if section.pictures.isEmpty, run.kind == .erasing {
      section.text = "There are no pictures in the run's folder: erase --report keeps some there."
    }
    return section
  }

  private func picture(_ picture: RunSheets.Picture) -> PictureView {
    let sheet = picture.sheet
    let columns = sheet.images?.count ?? sheet.labels?.count ?? 0
    return PictureView(
      source: "data:image/png;base64,\(Data(picture.png).base64EncodedString())",
      alternative:
        "\(sheet.title): \(columns) images across, rows from the top: \(sheet.rows.joined(separator: "; "))",
      caption: sheet.title, width: picture.width, height: picture.height, rows: sheet.rows,
      table: table(of: sheet))
  }

  /// What is known of the images of a sheet, from the left.
  private func table(of sheet: RunSheets.Sheet) -> TableView? {
    func view(_ count: Int, _ rows: [TableView.Row]) -> TableView {
      TableView(
        caption: "The images, from the left", corner: "image", columns: (0..<count).map { String($0 + 1) },
        rows: rows)
    }
    if let labels = sheet.labels {
      let answers = (sheet.answers ?? []).filter { $0.labels.count == labels.count }
      return view(
        labels.count,
        [TableView.Row(name: "label", cells: labels.map(name(ofClass:)))]
          + answers.map { TableView.Row(name: $0.name, cells: $0.labels.map(name(ofClass:))) })
    }
    guard let images = sheet.images, let agreement = run.agreement,
      images.allSatisfy(agreement.indices.contains)
    else { return nil }
    let rows = images.map { agreement[$0] }
    var lines = [
      TableView.Row(name: "training image", cells: images.map(String.init)),
      TableView.Row(name: "label", cells: rows.map { name(ofClass: $0.label) }),
    ]
    func add(_ name: String, _ value: (AgreementTable.Row) -> String?) {
      let cells = rows.compactMap(value)
      if cells.count == rows.count { lines.append(TableView.Row(name: name, cells: cells)) }
    }
    add("purified model's answer") { $0.answer.map(name(ofClass:)) }
    add("agreement") { String(format: "%.4f", $0.agreement) }
    add("probability of a trigger") { $0.probability.map { String(format: "%.3f", $0) } }
    add("poisoned") { row in row.poisoned.map { $0 ? "yes" : row.cross == true ? "cross image" : "no" } }
    return view(images.count, lines)
  }
}
