/// How like triggered images adversarial ones are, in pixels and in what a model makes of them (docs/observations.md):
/// means over the images whose label is not the attacker's. Lengths and distances are L2.
public struct ImageComparison: Sendable, Codable, Equatable {
  /// In pixels, from 0 to 1. The cosine is that of Theorem 1: between the adversarial change and the trigger's.
  public struct Pixels: Sendable, Codable, Equatable {
    /// Lengths of the two changes, the distance of their ends, and their cosine.
    public var adversarialChange = 0.0, triggerChange = 0.0, adversarialToTriggered = 0.0, cosine = 0.0
  }

  /// In features: the last stage's channels after ReLU, averaged over the image. "Nearer" is the share of images whose
  /// adversarial example is nearer to the triggered image than the clean image, or than the benign model's adversarial
  /// example, is.
  public struct Features: Sendable, Codable, Equatable {
    /// Distances.
    public var adversarialToTriggered = 0.0, cleanToTriggered = 0.0, adversarialToClean = 0.0
    /// Between the features of the adversarial and the triggered image, and between their changes.
    public var cosine = 0.0, cosineOfChanges = 0.0
    /// The share of images whose adversarial example is nearer than the clean image.
    public var nearerThanClean = 0.0
    /// The distance of the benign model's adversarial examples, and the share that is nearer than these; `nil` without one.
    public var benignToTriggered: Double?, nearerThanBenign: Double?
  }

  /// The channels whose activation increases most, those of the triggered image against those of the adversarial one:
  /// Jaccard index, and the share of the former that are among the latter.
  public struct Neurons: Sendable, Codable, Equatable {
    /// How many are looked at, and of how many.
    public var top = 0, channels = 0
    /// Of the infected model's adversarial examples.
    public var jaccard = 0.0, coverage = 0.0
    /// Of the benign model's; `nil` without one.
    public var benignJaccard: Double?, benignCoverage: Double?
    /// What channels chosen at random would cover.
    public var randomCoverage = 0.0
  }

  /// How many images it is the mean of.
  public var images = 0
  /// In pixels.
  public var pixels = Pixels()
  /// In features.
  public var features = Features()
  /// In the channels that react most.
  public var neurons = Neurons()

  /// The share of channels that ``Neurons`` looks at.
  static let topShare = 0.05

  /// A kind of images, and what a model makes of them.
  struct View {
    /// float32 NCHW, image after image.
    let pixels: [Float]
    let answers: NetworkProbe.Answers
  }

  /// Compares the images at `chosen`. `benign`: the benign model's adversarial examples, as this model sees them.
  init(clean: View, triggered: View, adversarial: View, benign: View? = nil, chosen: [Int], imageSize: Int) {
    images = chosen.count
    guard !chosen.isEmpty else { return }
    let share = 1 / Double(chosen.count)
    let channels = clean.answers.channels
    let top = max(1, Int((Self.topShare * Double(channels)).rounded(.up)))
    neurons.top = top
    neurons.channels = channels
    neurons.randomCoverage = Double(top) / Double(channels)
    var others = (distance: 0.0, nearer: 0.0, jaccard: 0.0, coverage: 0.0)
    for image in chosen {
      let range = image * imageSize..<(image + 1) * imageSize
      let (x, t, a) = (clean.pixels[range], triggered.pixels[range], adversarial.pixels[range])
      let (change, trigger) = (Vector.difference(a, x), Vector.difference(t, x))
      pixels.adversarialChange += share * Vector.length(change)
      pixels.triggerChange += share * Vector.length(trigger)
      pixels.adversarialToTriggered += share * Vector.length(Vector.difference(a, t))
      pixels.cosine += share * Vector.cosine(change, trigger)

      func features(_ view: View) -> [Double] { view.answers.features(of: image).map(Double.init) }
      let (phiX, phiT, phiA) = (features(clean), features(triggered), features(adversarial))
      let distance = Vector.length(Vector.difference(phiA, phiT))
      let (increase, wanted) = (Vector.difference(phiA, phiX), Vector.difference(phiT, phiX))
      self.features.adversarialToTriggered += share * distance
      self.features.cleanToTriggered += share * Vector.length(wanted)
      self.features.adversarialToClean += share * Vector.length(increase)
      self.features.cosine += share * Vector.cosine(phiA, phiT)
      self.features.cosineOfChanges += share * Vector.cosine(increase, wanted)
      self.features.nearerThanClean += distance < Vector.length(wanted) ? share : 0
      let target = Self.largest(wanted, top)
      let common = Self.largest(increase, top).intersection(target).count
      neurons.coverage += share * Double(common) / Double(top)
      neurons.jaccard += share * Double(common) / Double(2 * top - common)
      if let benign {
        let phiB = features(benign)
        let other = Vector.length(Vector.difference(phiB, phiT))
        let common = Self.largest(Vector.difference(phiB, phiX), top).intersection(target).count
        others.distance += share * other
        others.nearer += distance < other ? share : 0
        others.coverage += share * Double(common) / Double(top)
        others.jaccard += share * Double(common) / Double(2 * top - common)
      }
    }
    if benign != nil {
      self.features.benignToTriggered = others.distance
      self.features.nearerThanBenign = others.nearer
      neurons.benignCoverage = others.coverage
      neurons.benignJaccard = others.jaccard
    }
  }

  /// The positions of the largest values; of equals, the first ones.
  private static func largest(_ values: [Double], _ count: Int) -> Set<Int> {
    Set(values.indices.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(count))
  }
}

/// Arithmetic of vectors on the host, in double precision.
enum Vector {
  static func difference(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> [Double] {
    zip(a, b).map { Double($0) - Double($1) }
  }

  static func difference(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 - $1 } }

  static func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

  static func length(_ a: [Double]) -> Double { dot(a, a).squareRoot() }

  /// 0 where one is zero.
  static func cosine(_ a: [Double], _ b: [Double]) -> Double {
    let lengths = length(a) * length(b)
    return lengths > 0 ? dot(a, b) / lengths : 0
  }
}
