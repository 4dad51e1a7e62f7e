import Kernels

/// Evaluation-mode answers of a network on a whole data set, computed on the device.
public final class Scorer {
  let weights: Weights
  private let data: DeviceImages
  private let batch: Int
  private let rows: Tensor
  /// float32 (count, classes): the logits of every image, in the data set's order, after ``run(progress:)``.
  public let logits: Tensor
  /// float32 image (count, c, h, w): what the final linear layer takes of every image; read on the host, each row is
  /// PyTorch's flattened features. Only where they were asked for.
  public let features: Tensor?
  private let executable: any Executable
  private let predictions: Tensor

  /// Compiles the plan; it also keeps the final layer's inputs when `keepsFeatures`. Throws `device` when there is not
  /// enough memory.
  public init(
    _ weights: Weights, data: DeviceImages, batch: Int = 256, keepsFeatures: Bool = false
  ) throws {
    let batch = min(batch, data.count)
    let backend = weights.backend
    self.weights = weights
    self.data = data
    self.batch = batch
    rows = try backend.makeTensor((0..<data.count).map { Int32($0) }, shape: Shape(data.count, 1))
    logits = try backend.makeTensor(Shape(data.count, weights.graph.classes))
    predictions = try backend.makeTensor(Shape(data.count, 1), type: .int32)
    var program = Program()
    let loaded = try data.load(batch, rows: rows, in: &program)
    var lowering = Lowering(weights, mode: .evaluation, batch: batch, program: program)
    let answers = try lowering.forward(loaded.images)
    var table: Tensor?
    if keepsFeatures {
      let values = lowering.features()
      var shape = lowering.shape(weights.graph.penultimate)
      shape.n = data.count
      let kept = try backend.makeTensor(shape, role: .image)
      lowering.program.append(.storeRows(StoreRows(input: values, table: lowering.program.bind(kept))))
      table = kept
    }
    features = table
    program = lowering.program
    let labels = program.temporary(Shape(batch, 1), type: .int32, role: .plain)
    program.append(.argMax(ArgMax(input: answers, output: labels)))
    program.append(.storeRows(StoreRows(input: answers, table: program.bind(logits))))
    program.append(.storeRows(StoreRows(input: labels, table: program.bind(predictions))))
    executable = try backend.compile([program])[0]
  }

  /// Computes every image's logits and answer with the weights as they are now. `progress` gets the number of images
  /// done; throwing stops.
  public func run(progress: (_ done: Int) throws -> Void = { _ in }) throws {
    var pace = QueuePace(weights.backend)
    for first in stride(from: 0, to: data.count, by: batch) {
      try executable.run(RunParameters(rowOffset: Int32(first)))
      try pace.handedOut()
      try progress(min(data.count, first + batch))
    }
  }

  /// The class of the largest logit of every image, after ``run(progress:)``.
  public func answers() throws -> [Int32] { try weights.backend.read(predictions, as: Int32.self) }
}

/// The agreement of two scorers on every image: 0.5 + 0.5 * cosine of the logits.
final class AgreementPlan {
  private let backend: any Backend
  private let output: Tensor
  private let executable: any Executable

  init(_ a: Tensor, _ b: Tensor, on backend: any Backend) throws {
    self.backend = backend
    output = try backend.makeTensor(Shape(a.shape.n, 1))
    var program = Program()
    program.append(
      .agreement(Agreement(a: program.bind(a), b: program.bind(b), output: program.bind(output))))
    executable = try backend.compile([program])[0]
  }

  /// Of tables on the host, (images, classes), row by row, without some of the classes.
  convenience init(
    _ a: [Float], _ b: [Float], classes: Int, without: Set<Int32>, on backend: any Backend
  ) throws {
    let counted = (0..<classes).filter { !without.contains(Int32($0)) }
    func table(_ logits: [Float]) throws -> Tensor {
      let rows = stride(from: 0, to: logits.count, by: classes).map { first in
        counted.map { logits[first + $0] }
      }
      return try backend.makeTensor(rows.flatMap { $0 }, shape: Shape(rows.count, counted.count))
    }
    try self.init(table(a), table(b), on: backend)
  }

  func run() throws -> [Float] {
    try executable.run(RunParameters())
    return try backend.read(output)
  }
}
