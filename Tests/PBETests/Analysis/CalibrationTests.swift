import Foundation
import Kernels
import Testing

@testable import PBE

/// Calibrations of made-up inspections, and verdicts by them.
struct CalibrationTests {
  private static let classes = 5
  private static let budgets = [Budget(.infinity, epsilon: 2), Budget(.infinity, epsilon: 6)]

  /// An inspection of 100 images per label. At the second size, `drawn` per cent of each label's images go to `target`
  /// (`nil`: each label's to the next), the rest and the first size are usual: mostly the next label's neighbour, with some
  /// noise by `seed`.
  private static func record(
    seed: UInt64, target: Int?, drawn: Int, isInfected: Bool, asr: Double = 1, dataset: String = "bars"
  ) throws -> InspectionRecord {
    var random = PhiloxStream(seed: seed, purpose: 99)
    func matrix(_ drawn: Int) -> PredictionMatrix {
      var counts = [[Int]](repeating: Array(repeating: 0, count: classes), count: classes)
      for label in 0..<classes {
        let goal = target ?? (label + 1) % classes
        for image in 0..<100 {
          if image < drawn, goal != label {
            counts[label][goal] += 1
          } else {
            let step = random.nextUniform() < 0.6 ? 2 : 1 + Int(random.nextUniform() * 4)
            counts[label][(label + step) % classes] += 1
          }
        }
      }
      return PredictionMatrix(counts: counts)
    }
    let findings = ModelFindings(
      acc: 0.9, asr: isInfected ? asr : nil,
      budgets: [BudgetFindings(budgets[0], matrix(0)), BudgetFindings(budgets[1], matrix(drawn))])
    var settings = InspectionSettings(epsilons: [], imageSize: 1)
    settings.budgets = budgets
    let test = try LabeledImages(
      name: dataset, channels: 1, height: 28, width: 28, classes: classes,
      pixels: Array(repeating: 0, count: 784), labels: [0])
    var attack = try AttackFile.named("badnet")
    attack.mode = target == nil ? .allToAll : .allToOne
    attack.target = target ?? 0
    return try InspectionRecord(
      version: "1", device: TestDevices.cpu.device, dataset: dataset == "bars" ? .mnist : .gtsrb, test: test,
      network: NetworkSpecification(.mnistNet, classes: classes, channels: 1, height: 28, imageWidth: 28),
      settings: settings, images: 500, attack: isInfected ? attack : nil,
      model: InspectionRecord.Model(path: "m", checksum: "\(seed) \(drawn)", findings: findings))
  }

  private static func bank(drawn: Int) throws -> [Calibration.Entry] {
    let benign = try (0..<12).map {
      Calibration.Entry(
        name: "clean-\($0)", record: try record(seed: $0, target: nil, drawn: 0, isInfected: false))
    }
    let one = try (0..<8).map {
      Calibration.Entry(
        name: "badnet-\($0)",
        record: try record(seed: 100 + $0, target: Int($0) % classes, drawn: drawn, isInfected: true))
    }
    let all = try (0..<4).map {
      Calibration.Entry(
        name: "all-\($0)", record: try record(seed: 200 + $0, target: nil, drawn: drawn, isInfected: true))
    }
    return benign + one + all
  }

  @Test func tellsApart() throws {
    let calibration = try Calibration(Self.bank(drawn: 50), seed: 0)
    #expect(calibration.budget == Self.budgets[1])
    #expect(calibration.quality.auc == 1 && calibration.quality.aucLow == 1)
    #expect(calibration.quality.detectionAtZeroFalseAlarms == 1 && calibration.quality.detection == 1)
    #expect(calibration.quality.targetsNamed == 1)
    #expect(calibration.quality.benign == 6 && calibration.quality.infected == 6)
    #expect(calibration.models.count { $0.isOfThresholdHalf } == 12)
    // The threshold is a benign score of its own half.
    #expect(
      calibration.models.contains {
        $0.isOfThresholdHalf && !$0.isInfected && $0.score == calibration.threshold
      })

    let infected = try Self.record(seed: 300, target: 3, drawn: 50, isInfected: false)
    let verdict = try #require(Verdict(infected.model.findings, of: infected, by: calibration))
    #expect(verdict.isSuspicious == true && verdict.pattern == .label && verdict.target == 3)
    #expect(abs((verdict.pValue ?? 0) - 1.0 / 13) < 1e-12)
    let permuted = try Self.record(seed: 302, target: nil, drawn: 50, isInfected: false)
    let other = try #require(Verdict(permuted.model.findings, of: permuted, by: calibration))
    #expect(other.isSuspicious == true && other.pattern == .permutation)
    let benign = try Self.record(seed: 301, target: nil, drawn: 0, isInfected: false)
    let none = try #require(Verdict(benign.model.findings, of: benign, by: calibration))
    #expect(none.score < verdict.score && none.pValue ?? 0 > 1.5 / 13)
    #expect(none.isSuspicious == true || none.notes.contains { $0.contains("does not mean clean") })
  }

  /// Where nothing tells the models apart, the calibration says so; the interval is an interval.
  @Test func nothingToTell() throws {
    let calibration = try Calibration(Self.bank(drawn: 0), seed: 0)
    #expect(calibration.quality.auc < 0.95)
    #expect(calibration.quality.aucLow <= calibration.quality.auc)
    #expect(calibration.quality.auc <= calibration.quality.aucHigh)
    #expect(calibration.quality.aucHigh > calibration.quality.aucLow)
    #expect(try Calibration(Self.bank(drawn: 0), seed: 0).quality.aucLow == calibration.quality.aucLow)
  }

  @Test func otherData() throws {
    let calibration = try Calibration(Self.bank(drawn: 50), seed: 0)
    let record = try Self.record(seed: 1, target: 2, drawn: 90, isInfected: false, dataset: "signs")
    let verdict = try #require(Verdict(record.model.findings, of: record, by: calibration))
    #expect(verdict.notes.contains { $0.contains("draw one another differently") })
    #expect(verdict.target == 2 && verdict.isSuspicious == nil && verdict.pValue == nil)
    // A size that was not inspected gives no verdict.
    var other = record
    other.settings.budgets = [Self.budgets[0]]
    let findings = ModelFindings(acc: 1, budgets: [record.model.findings.budgets[0]])
    #expect(Verdict(findings, of: other, by: calibration) == nil)
  }

  /// Of few wrong answers many are the same by chance; and a model may be made so that it gives none.
  @Test func fewWrongAnswers() throws {
    let calibration = try Calibration(Self.bank(drawn: 50), seed: 0)
    #expect(calibration.fewestWrong == 500 && calibration.leastWrong == 100)
    // The built-in one is of 300 images, of which the fewest misled were 74 when part of the bank was made again.
    #expect(try Calibration.builtIn().leastWrong == 60)
    for (wrong, isEnough) in [(0, false), (19, false), (20, true)] {
      var record = try Self.record(seed: 300, target: 3, drawn: 50, isInfected: false)
      let counts = (0..<5).map { label in
        (0..<5).map { $0 == label ? 100 - wrong : $0 == (label == 3 ? 4 : 3) ? wrong : 0 }
      }
      record.model = InspectionRecord.Model(
        path: "m", checksum: "m",
        findings: ModelFindings(
          acc: 0.9, budgets: Self.budgets.map { BudgetFindings($0, PredictionMatrix(counts: counts)) }))
      let verdict = try #require(Verdict(record.model.findings, of: record, by: calibration))
      #expect((verdict.isSuspicious == nil) != isEnough && (verdict.pValue == nil) != isEnough)
      #expect(verdict.notes.contains { $0.contains("only \(5 * wrong) of 500") } != isEnough)
    }
  }

  /// Image folders are one data set only where their classes have the same names.
  @Test func otherFolders() throws {
    func named(_ names: [String]?, _ record: InspectionRecord) -> InspectionRecord {
      var record = record
      (record.dataset, record.classNames) = ("folder", names)
      return record
    }
    let names = (0..<5).map { "class \($0)" }
    let calibration = try Calibration(
      Self.bank(drawn: 50).map { Calibration.Entry(name: $0.name, record: named(names, $0.record)) }, seed: 0)
    for (other, isSame) in [(names, true), (names.reversed(), false), (nil, false)] {
      let record = named(other, try Self.record(seed: 300, target: 3, drawn: 50, isInfected: false))
      let verdict = try #require(Verdict(record.model.findings, of: record, by: calibration))
      #expect((verdict.isSuspicious != nil) == isSame)
    }
  }

  /// Weaker examples draw less, whatever the model is.
  @Test func otherExamples() throws {
    let calibration = try Calibration(Self.bank(drawn: 50), seed: 0)
    for (steps, clip) in [(1, false), (7, true)] {
      var record = try Self.record(seed: 300, target: 3, drawn: 50, isInfected: false)
      record.settings.steps = steps
      record.settings.clip = clip
      let verdict = try #require(Verdict(record.model.findings, of: record, by: calibration))
      #expect(verdict.isSuspicious == nil && verdict.pValue == nil && verdict.target == 3)
      #expect(verdict.notes.contains { $0.contains("of 7 PGD steps, unclipped") })
    }
  }

  @Test func banksThatDontFit() throws {
    var bank = try Self.bank(drawn: 50)
    #expect(throws: PBEError.self) { try Calibration([], seed: 0) }
    #expect(throws: PBEError.self) { try Calibration(Array(bank.prefix(12)), seed: 0) }
    let foreign = Calibration.Entry(
      name: "x",
      record: try Self.record(seed: 1, target: 1, drawn: 50, isInfected: true, dataset: "signs"))
    #expect(throws: PBEError.self) { try Calibration(bank + [foreign], seed: 0) }
    bank.append(
      Calibration.Entry(
        name: "weak", record: try Self.record(seed: 400, target: 1, drawn: 0, isInfected: true, asr: 0.2)))
    let calibration = try Calibration(bank, seed: 0)
    #expect(calibration.leftOut == ["weak"] && !calibration.models.contains { $0.name == "weak" })
  }

  /// A model in both halves would vouch for itself.
  @Test func modelsThatAreThereTwice() throws {
    let bank = try Self.bank(drawn: 50)
    let again = Calibration.Entry(name: "again", record: bank[3].record)
    let error = #expect(throws: PBEError.self) { try Calibration(bank + [again], seed: 0) }
    #expect(error?.kind == .badData && error?.description.contains("the same model as") ?? false)
  }

  /// Files with numbers that nothing could be computed with are refused, and nothing crashes.
  @Test func damagedFiles() throws {
    try TestFiles.withDirectory { directory in
      let path = directory.path + "/file.json"
      func refuses(_ text: String, _ change: (inout [String: Any]) -> Void, _ load: () throws -> Void) throws
      {
        var object = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        change(&object)
        try JSONSerialization.data(withJSONObject: object).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: PBEError.self, "\(object)") { try load() }
        #expect(error?.kind == .badData && error?.description.contains("file.json") ?? false)
      }
      let calibration = try AnalysisJSON.text(Calibration(Self.bank(drawn: 50), seed: 0))
      func load() throws { _ = try Calibration.load(path) }
      for (key, value) in [("threshold", 1e300), ("classes", 4.0), ("classes", 1)] as [(String, Any)] {
        try refuses(calibration, { $0[key] = value }, load)
      }
      for (part, key, value) in [
        ("scale", "label_mean", 1e308), ("scale", "label_deviation", 1e-300), ("scale", "row_deviation", -1),
        ("budget", "epsilon", 1e300), ("budget", "epsilon", 0), ("budget", "epsilon", -4),
        ("quality", "detection", 1e300), ("quality", "auc", -1),
      ] as [(String, String, Any)] {
        try refuses(
          calibration,
          {
            var inner = $0[part] as? [String: Any] ?? [:]
            inner[key] = value
            $0[part] = inner
          }, load)
      }
      let record = try Self.record(seed: 1, target: 1, drawn: 50, isInfected: true)
      let inspection = try AnalysisJSON.text(record)
      try AtomicFile.write(inspection, to: path)
      #expect(try InspectionRecord.load(path).model.checksum == record.model.checksum)
      func inspected() throws { _ = try InspectionRecord.load(path) }
      try refuses(inspection, { $0["images"] = 501 }, inspected)
      for matrix in [
        [], [[500]], [[250, 250], [0, 0]], [[Int.max, Int.max], [0, 0]], [[-1, 501], [0, 0]],
        [[500, 0]],
      ] as [[[Int]]] {
        try refuses(
          inspection,
          {
            var model = $0["model"] as? [String: Any] ?? [:]
            var findings = model["findings"] as? [String: Any] ?? [:]
            var budgets = findings["budgets"] as? [[String: Any]] ?? []
            budgets[0]["matrix"] = matrix
            findings["budgets"] = budgets
            model["findings"] = findings
            $0["model"] = model
          }, inspected)
      }
    }
  }

  /// What the program carries can be read, says which half is which, and was made of enough models.
  @Test func builtIn() throws {
    let calibration = try Calibration.builtIn()
    #expect(
      calibration.models.count { !$0.isInfected } >= 20 && calibration.models.count(where: \.isInfected) >= 12
    )
    #expect(
      calibration.quality.benign == calibration.models.count { !$0.isInfected && !$0.isOfThresholdHalf })
    let benign = calibration.models.filter { !$0.isInfected && $0.isOfThresholdHalf }
    #expect(benign.map(\.score).max() == calibration.threshold)
    #expect(calibration.settings.budgets.contains(calibration.budget))
  }
}
