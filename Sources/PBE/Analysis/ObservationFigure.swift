/// The figure of the poster of Mu et al., CVPR 2023: for each target label, what a model infected with that target answers to
/// adversarial examples, beside the same of benign models.
public struct ObservationFigure {
  /// One size of perturbations.
  public struct Part {
    /// The size.
    public let budget: Budget
    /// Row t: the shares of all answers of the models with target t, to images of other labels than t.
    public let infected: [[Double]]
    /// Row t: the same of the benign models, taken in turn.
    public let benign: [[Double]]

    /// The mean of the diagonal: how often the target is answered.
    public var infectedDiagonal: Double { Self.diagonal(infected) }
    /// The mean of the benign models' diagonal.
    public var benignDiagonal: Double { Self.diagonal(benign) }

    private static func diagonal(_ rows: [[Double]]) -> Double {
      rows.indices.reduce(0) { $0 + rows[$1][$1] } / Double(max(1, rows.count))
    }
  }

  /// A part for each size.
  public let parts: [Part]
  /// How many models of each kind, and what infected the others.
  public let benignCount: Int, infectedCount: Int, attacks: [String]

  /// Makes the figure; `nil` unless there are benign models, and all-to-one models of every target.
  public init?(_ records: [InspectionRecord]) {
    let benign = records.filter { $0.attack == nil }
    let infected = records.filter { $0.attack?.target != nil }
    guard let first = benign.first, let classes = first.model.findings.budgets.first?.matrix.classes else {
      return nil
    }
    let byTarget = (0..<classes).map { target in infected.filter { $0.attack?.target == target } }
    let budgets = first.settings.budgets
    guard byTarget.allSatisfy({ !$0.isEmpty }),
      (benign + infected).allSatisfy({ record in
        record.model.findings.budgets.map(\.budget) == budgets
          && record.model.findings.budgets.allSatisfy { $0.matrix.classes == classes }
      })
    else { return nil }
    parts = budgets.enumerated().map { index, budget in
      func row(_ target: Int, _ models: [InspectionRecord]) -> [Double] {
        var counts = [Int](repeating: 0, count: classes)
        for model in models {
          for (label, row) in model.model.findings.budgets[index].matrix.counts.enumerated()
          where label != target {
            for (answer, count) in row.enumerated() { counts[answer] += count }
          }
        }
        let all = counts.reduce(0, +)
        return counts.map { all > 0 ? Double($0) / Double(all) : 0 }
      }
      return Part(
        budget: budget, infected: (0..<classes).map { row($0, byTarget[$0]) },
        benign: (0..<classes).map { row($0, [benign[$0 % benign.count]]) })
    }
    benignCount = benign.count
    infectedCount = infected.count
    attacks = Set(infected.compactMap { $0.attack?.name }).sorted()
  }

  /// A heat map of one part as SVG.
  public func svg(_ part: Part) -> String {
    func percent(_ share: Double) -> String { "\(Int((100 * share).rounded()))%" }
    return MatrixPicture(
      title: "Answers to adversarial examples, \(part.budget.name)",
      description:
        "Per cent of the answers by target label (row) and answer (column). Mean diagonal: benign models "
        + "\(percent(part.benignDiagonal)), infected models \(percent(part.infectedDiagonal)).",
      rows: "target label", columns: "answer",
      panels: [
        MatrixPicture.Panel("benign models, diagonal \(percent(part.benignDiagonal))", part.benign),
        MatrixPicture.Panel("infected models, diagonal \(percent(part.infectedDiagonal))", part.infected),
      ]
    ).svg
  }

  /// The diagonals as a Markdown table.
  public var markdown: String {
    func percent(_ share: Double) -> String {
      let tenths = Int((1000 * share).rounded())
      return "\(tenths / 10).\(tenths % 10)"
    }
    var text = "| size | benign models, mean diagonal (%) | infected models, mean diagonal (%) |\n"
    text += "| --- | --- | --- |\n"
    for part in parts {
      text +=
        "| \(part.budget.name) | \(percent(part.benignDiagonal)) | \(percent(part.infectedDiagonal)) |\n"
    }
    return text
  }
}
