import Foundation
import Kernels

/// What tells usual concentrations of adversarial examples' answers from suspicious ones: made of inspections of a bank of
/// benign and infected models. One half of the bank chooses size of perturbations, scale and threshold; the other half
/// measures what they are worth.
public struct Calibration: Sendable, Codable {
  /// One model of the bank.
  public struct Model: Sendable, Codable {
    /// Its name.
    public let name: String
    /// What it was infected with; `nil` for a benign one.
    public let attack: InspectionRecord.Attack?
    /// Whether it is of the half that chose the threshold.
    public let isOfThresholdHalf: Bool
    /// Its score; of a benign model of the threshold's half, by the others of that half.
    public let score: Double
    /// The label that its score suggests as target.
    public let target: Int
    /// Whether it is infected.
    public var isInfected: Bool { attack != nil }
  }

  /// What the other half says.
  public struct Quality: Sendable, Codable {
    /// How many benign and infected models it has.
    public let benign: Int, infected: Int
    /// The area under the ROC curve, and its 95% bootstrap interval.
    public let auc: Double, aucLow: Double, aucHigh: Double
    /// The share of infected models that score above every benign one.
    public let detectionAtZeroFalseAlarms: Double
    /// At the threshold: the share of infected models found, and of benign ones suspected.
    public let detection: Double, falseAlarms: Double
    /// The share of the found all-to-one models whose target was named.
    public let targetsNamed: Double
  }

  /// The format's version.
  public var version = 1
  /// What the models were trained on, and what they are.
  public let dataset: String, classes: Int, architecture: String, width: Int
  /// The classes' names, where known: image folders are one data set only where these are the same.
  public let classNames: [String]?
  /// The inspections' settings.
  public let settings: InspectionSettings
  /// The size of perturbations that the score is about: the one that tells the threshold's half apart best.
  public let budget: Budget
  /// The fewest wrong answers that a model of the bank gave at that size; `nil` in older files.
  public let fewestWrong: Int?
  /// What is usual.
  public let scale: Scale
  /// The highest score of the threshold's half's benign models.
  public let threshold: Double
  /// What the other half says.
  public let quality: Quality
  /// Infected models that were left out: their backdoor works on fewer than half the images.
  public let leftOut: [String]
  /// The others.
  public let models: [Model]

  /// An inspected model of a bank.
  public struct Entry: Sendable {
    let name: String
    let record: InspectionRecord

    /// Creates an entry.
    public init(name: String, record: InspectionRecord) {
      self.name = name
      self.record = record
    }

    var isInfected: Bool { record.attack != nil }
    var works: Bool { (record.model.findings.asr ?? 1) >= 0.5 }
  }

  /// Makes a calibration of a bank. `seed` splits the bank and resamples. Throws `badData` when the inspections don't
  /// belong together or are too few.
  public init(_ bank: [Entry], seed: UInt64) throws {
    let bank = bank.sorted { $0.name < $1.name }
    guard let first = bank.first?.record else { throw Self.tooFew }
    var names: [String: String] = [:]
    for entry in bank {
      let record = entry.record
      if let other = names.updateValue(entry.name, forKey: record.model.checksum) {
        throw PBEError(
          .badData, "this is the same model as \(other)", at: entry.name,
          remedy: "name each inspection once: a model in both halves would vouch for itself")
      }
      guard record.dataset == first.dataset, record.dataChecksum == first.dataChecksum,
        record.architecture == first.architecture, record.width == first.width,
        record.settings == first.settings, Self.classes(record) == Self.classes(first),
        record.classNames == first.classNames
      else {
        throw PBEError(
          .badData, "the inspections are not of one network, data set and settings", at: entry.name,
          remedy: "inspect the whole bank by one pbe-gpu observe")
      }
    }
    leftOut = bank.filter { !$0.works }.map(\.name)
    let used = bank.filter(\.works)
    let isFirst = Self.split(used, seed: seed)
    let benign = used.indices.filter { !used[$0].isInfected }
    let infected = used.indices.filter { used[$0].isInfected }
    for group in [benign, infected] {
      guard group.count(where: { isFirst[$0] }) >= 3, group.count(where: { !isFirst[$0] }) >= 3 else {
        throw Self.tooFew
      }
    }
    /// The scores of all models by one size of perturbations.
    func scores(_ budget: Int) -> (scale: Scale, scores: [Scale.Score]) {
      let matrices = used.map { $0.record.model.findings.budgets[budget].matrix }
      func scale(without excluded: Int? = nil) -> Scale {
        Scale(benign.filter { isFirst[$0] && $0 != excluded }.map { matrices[$0] })
      }
      let whole = scale()
      return (
        whole,
        used.indices.map { index in
          (!used[index].isInfected && isFirst[index] ? scale(without: index) : whole).score(matrices[index])
        }
      )
    }
    func area(_ scores: [Scale.Score], _ models: [Int]) -> Double {
      areaUnderROC(
        scores: models.map { Float(scores[$0].value) }, isPositive: models.map { used[$0].isInfected })
        ?? 0
    }
    let budgets = first.settings.budgets
    guard used.allSatisfy({ $0.record.model.findings.budgets.map(\.budget) == budgets }), !budgets.isEmpty
    else {
      throw PBEError(.badData, "the inspections' sizes of perturbations are not those of their settings")
    }
    let half = used.indices.filter { isFirst[$0] }
    let candidates = budgets.indices.map(scores)
    let areas = candidates.map { area($0.scores, half) }
    let chosen = areas.indices.max { areas[$0] < areas[$1] } ?? 0
    let (scale, result) = candidates[chosen]
    let threshold = benign.filter { isFirst[$0] }.map { result[$0].value }.max() ?? 0

    dataset = first.dataset
    classes = Self.classes(first)
    classNames = first.classNames
    architecture = first.architecture
    width = first.width
    settings = first.settings
    budget = budgets[chosen]
    fewestWrong = used.map { $0.record.model.findings.budgets[chosen].matrix.wrongAnswers }.min()
    self.scale = scale
    self.threshold = threshold
    models = used.indices.map { index in
      Model(
        name: used[index].name, attack: used[index].record.attack, isOfThresholdHalf: isFirst[index],
        score: result[index].value, target: result[index].target)
    }
    quality = Self.quality(models.filter { !$0.isOfThresholdHalf }, threshold: threshold, seed: seed)
  }

  private static func classes(_ record: InspectionRecord) -> Int {
    record.model.findings.budgets.first?.matrix.classes ?? 0
  }

  private static let tooFew = PBEError(
    .badData,
    "a calibration needs at least 6 benign models and 6 whose backdoor works, 3 of each in both halves of the bank",
    remedy: "add models: each attack's are divided evenly between the halves; see experiments/bank.yaml")

  /// Which models choose the threshold: half of the benign ones, and of those with each attack.
  private static func split(_ bank: [Entry], seed: UInt64) -> [Bool] {
    var isFirst = [Bool](repeating: false, count: bank.count)
    let groups = Dictionary(grouping: bank.indices) { index in
      bank[index].record.attack.map { "\($0.name) \($0.mode.rawValue)" } ?? ""
    }
    for (number, (_, members)) in groups.sorted(by: { $0.key < $1.key }).enumerated() {
      let order = Permutation.of(
        members.count, seed: seed, purpose: RandomPurpose.calibrationHalf, epoch: UInt32(number))
      // Of an odd number, the half that takes the larger part changes from one attack to the next.
      for position in order.prefix((members.count + number % 2) / 2) { isFirst[members[position]] = true }
    }
    return isFirst
  }

  private static func quality(_ models: [Model], threshold: Double, seed: UInt64) -> Quality {
    let benign = models.filter { !$0.isInfected }.map(\.score)
    let infected = models.filter(\.isInfected)
    func area(_ positive: [Double], _ negative: [Double]) -> Double {
      areaUnderROC(
        scores: (positive + negative).map { Float($0) },
        isPositive: positive.map { _ in true } + negative.map { _ in false }) ?? 0
    }
    var random = PhiloxStream(seed: seed, purpose: RandomPurpose.bootstrap)
    func resampled(_ values: [Double]) -> [Double] {
      values.indices.map { _ in values[Int(Double(random.nextUniform()) * Double(values.count))] }
    }
    let scores = infected.map(\.score)
    let areas = (0..<2000).map { _ in area(resampled(scores), resampled(benign)) }.sorted()
    let found = infected.filter { $0.score > threshold }
    let named = found.filter { $0.attack?.target != nil }
    let most = benign.max() ?? 0
    func share(_ a: Int, _ b: Int) -> Double { b > 0 ? Double(a) / Double(b) : 0 }
    return Quality(
      benign: benign.count, infected: infected.count, auc: area(scores, benign),
      aucLow: quantile(areas, 0.025), aucHigh: quantile(areas, 0.975),
      detectionAtZeroFalseAlarms: share(scores.count { $0 > most }, scores.count),
      detection: share(found.count, infected.count),
      falseAlarms: share(benign.count { $0 > threshold }, benign.count),
      targetsNamed: share(named.count { $0.target == $0.attack?.target }, named.count))
  }

  /// How many wrong answers a verdict takes: of fewer, many are the same by chance. As many as any of the bank's models gave
  /// (of older files nobody knows it, and it is a fifth of the images), but 100 are enough.
  var leastWrong: Int { max(1, min(100, fewestWrong ?? settings.images / 5)) }

  /// Whether an inspection is of the data set that the bank is of.
  func isSameData(_ record: InspectionRecord, classes: Int) -> Bool {
    guard dataset == record.dataset, self.classes == classes else { return false }
    return dataset != DatasetKind.folder.rawValue || classNames != nil && classNames == record.classNames
  }

  /// What a verdict that finds nothing is worth.
  public var worthOfNegative: String {
    let missed = models.filter { $0.isInfected && !$0.isOfThresholdHalf && $0.score <= threshold }
    let kinds = Set(missed.compactMap { $0.attack.map { "\($0.name) (\($0.mode.rawValue))" } }).sorted()
    let share = Int((100 * (1 - quality.detection)).rounded())
    return
      "not suspicious does not mean clean: of the bank's \(quality.infected) infected models that were held out, "
      + "\(share)% were missed" + (kinds.isEmpty ? "" : ": \(kinds.joined(separator: ", "))")
      + "; triggers of large norm, such as patches, draw adversarial examples least"
  }

  // MARK: - Files

  /// The calibration that is part of the program.
  public static func builtIn() throws -> Calibration {
    try decode(PackageResources.calibration_json, place: "the built-in calibration")
  }

  /// Reads one that `calibrate` wrote. Throws `missingInput` or `badData`.
  public static func load(_ path: String) throws -> Calibration {
    try decode(
      InputFile.read(path, limit: 1 << 24, remedy: "name a file that pbe-gpu calibrate wrote"), place: path)
  }

  private static func decode(_ bytes: [UInt8], place: String) throws -> Calibration {
    let failure = PBEError(
      .badData, "this is no calibration of this version", at: place,
      remedy: "make one by pbe-gpu calibrate")
    guard let result = try? AnalysisJSON.decode(Calibration.self, from: bytes), result.version == 1,
      result.isValid
    else { throw failure }
    return result
  }

  private var isValid: Bool {
    let shares = [
      quality.auc, quality.aucLow, quality.aucHigh, quality.detectionAtZeroFalseAlarms, quality.detection,
      quality.falseAlarms, quality.targetsNamed,
    ]
    return scale.isValid(classes: classes) && (0...1 << 31).contains(fewestWrong ?? 0)
      && abs(threshold) <= Scale.largestScore
      && shares.allSatisfy { (0...1).contains($0) } && (0...1_000_000).contains(quality.benign)
      && (0...1_000_000).contains(quality.infected)
      && models.allSatisfy {
        abs($0.score) <= Scale.largestScore && (0..<classes).contains($0.target)
      }
  }
}

/// What is usual for benign models of a bank, and how far a model is from it.
public struct Scale: Sendable, Codable {
  /// The mean share of each answer (column) among the images of each label (row).
  public let shares: [[Double]]
  /// The mean of ``PredictionMatrix/attraction``.
  public let attraction: [Double]
  /// Mean and standard deviation, over benign models, of the largest excess of a label's attraction; and of the mean over
  /// the rows of the largest excess of a share.
  public let labelMean: Double, labelDeviation: Double, rowMean: Double, rowDeviation: Double

  /// How far a matrix is from what is usual.
  public struct Score: Sendable, Equatable {
    /// The larger of both patterns' standard scores.
    public let value: Double
    /// Which of them it is.
    public let pattern: Verdict.Pattern
    /// The label with the largest excess.
    public let target: Int
  }

  /// Deviations below this are taken for this: a bank is small, and a share of few images is rough.
  static let leastDeviation = 0.01

  /// The scale of benign models; at least one.
  init(_ benign: [PredictionMatrix]) {
    let classes = benign[0].classes
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    let all = benign.map(\.shares)
    shares = (0..<classes).map { row in (0..<classes).map { column in mean(all.map { $0[row][column] }) } }
    let attractions = benign.map(\.attraction)
    attraction = (0..<classes).map { label in mean(attractions.map { $0[label] }) }
    func deviation(_ values: [Double]) -> Double {
      let centre = mean(values)
      let sum = values.reduce(0) { $0 + ($1 - centre) * ($1 - centre) }
      return max(Self.leastDeviation, (sum / Double(max(1, values.count - 1))).squareRoot())
    }
    let (shares, attraction) = (shares, attraction)
    let labels = benign.map { Self.labelExcess($0, attraction).value }
    let rows = benign.map { Self.rowExcess($0, shares) }
    (labelMean, labelDeviation) = (mean(labels), deviation(labels))
    (rowMean, rowDeviation) = (mean(rows), deviation(rows))
  }

  private init(
    shares: [[Double]], attraction: [Double], labelMean: Double, labelDeviation: Double, rowMean: Double,
    rowDeviation: Double
  ) {
    self.shares = shares
    self.attraction = attraction
    self.labelMean = labelMean
    self.labelDeviation = labelDeviation
    self.rowMean = rowMean
    self.rowDeviation = rowDeviation
  }

  /// For classes of which nothing is known: uniform shares.
  func unrelated(classes: Int) -> Scale {
    let uniform = 1 / Double(max(1, classes - 1))
    return Scale(
      shares: Array(repeating: Array(repeating: uniform, count: classes), count: classes),
      attraction: Array(repeating: uniform, count: classes), labelMean: labelMean,
      labelDeviation: labelDeviation,
      rowMean: rowMean, rowDeviation: rowDeviation)
  }

  func isValid(classes: Int) -> Bool {
    shares.count == classes && shares.allSatisfy { $0.count == classes } && attraction.count == classes
      && classes > 1 && (shares + [attraction]).joined().allSatisfy { (0...1).contains($0) }
      && [labelMean, rowMean].allSatisfy { abs($0) <= 1 }
      && [labelDeviation, rowDeviation].allSatisfy { (Self.leastDeviation...2).contains($0) }
  }

  /// No score is larger: shares and their means differ by 2 at most.
  static let largestScore = 2 / leastDeviation

  /// The score of a matrix of as many classes.
  public func score(_ matrix: PredictionMatrix) -> Score {
    let label = Self.labelExcess(matrix, attraction)
    let byLabel = (label.value - labelMean) / labelDeviation
    let byRow = (Self.rowExcess(matrix, shares) - rowMean) / rowDeviation
    return Score(
      value: max(byLabel, byRow), pattern: byLabel >= byRow ? .label : .permutation, target: label.target)
  }

  /// The largest excess of a label's attraction, and the label.
  private static func labelExcess(
    _ matrix: PredictionMatrix, _ usual: [Double]
  ) -> (value: Double, target: Int) {
    let excess = zip(matrix.attraction, usual).map { $0 - $1 }
    let most = excess.max() ?? 0
    return (most, excess.firstIndex(of: most) ?? 0)
  }

  /// The mean over the rows of the largest excess of a wrong answer's share.
  private static func rowExcess(_ matrix: PredictionMatrix, _ usual: [[Double]]) -> Double {
    let most = zip(matrix.shares, usual).enumerated().map { label, row in
      zip(row.0, row.1).enumerated().filter { $0.offset != label }.map { $0.element.0 - $0.element.1 }.max()
        ?? 0
    }
    return most.reduce(0, +) / Double(max(1, most.count))
  }
}
