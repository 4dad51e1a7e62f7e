/// An operator that candidates are checked and timed with: a representative layer.
struct TuningWorkload: Sendable {
  /// The operator.
  enum Form: Sendable {
    case convolution, inputGradient, filterGradient
    case matrixProduct(transposeA: Bool, transposeB: Bool)
  }

  var form: Form
  /// Images, or rows of a matrix product's result.
  var batch: Int
  /// Channels in, or the terms of a matrix product's sums.
  var inputs: Int
  /// Channels out, or columns of a matrix product's result.
  var outputs: Int
  /// Rows and columns of pixels of the convolution's input.
  var extent = 1
  /// Rows and columns of the kernel.
  var kernel = 1
  var stride = 1

  private var geometry: ConvolutionGeometry {
    ConvolutionGeometry(kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: kernel / 2)
  }

  /// The family whose parameters it is computed with.
  var family: ProductFamily {
    switch form {
    case .convolution: .convolution(geometry, inputs: inputs, outputs: outputs)
    case .inputGradient: .convolution(geometry, inputs: inputs, outputs: outputs, isInputGradient: true)
    case .filterGradient: .filterGradient(geometry, inputs: inputs, outputs: outputs)
    case .matrixProduct: .matrixProduct
    }
  }

  // MARK: - The list

  /// Layers of PreActResNet-18 of widths 64 and 16 on CIFAR images, from the first stage to the last.
  static func all(batch: Int) -> [TuningWorkload] {
    func layer(
      _ form: Form, _ inputs: Int, _ outputs: Int, _ extent: Int, kernel: Int = 3, stride: Int = 1
    ) -> TuningWorkload {
      TuningWorkload(
        form: form, batch: batch, inputs: inputs, outputs: outputs, extent: extent, kernel: kernel,
        stride: stride)
    }
    func product(_ rows: Int, _ terms: Int, _ columns: Int, _ a: Bool, _ b: Bool) -> TuningWorkload {
      TuningWorkload(
        form: .matrixProduct(transposeA: a, transposeB: b), batch: rows, inputs: terms, outputs: columns)
    }
    return [
      layer(.convolution, 64, 64, 32), layer(.inputGradient, 128, 128, 16), layer(.convolution, 256, 256, 8),
      layer(.inputGradient, 512, 512, 4), layer(.convolution, 64, 64, 8),
      layer(.convolution, 16, 16, 32), layer(.inputGradient, 16, 16, 32), layer(.convolution, 32, 32, 16),
      layer(.convolution, 3, 64, 32), layer(.convolution, 64, 128, 32, stride: 2),
      layer(.convolution, 256, 512, 8, stride: 2), layer(.convolution, 128, 256, 16, kernel: 1, stride: 2),
      layer(.convolution, 16, 32, 32, stride: 2),
      layer(.inputGradient, 64, 128, 32, stride: 2), layer(.inputGradient, 256, 512, 8, stride: 2),
      layer(.inputGradient, 128, 256, 16, kernel: 1, stride: 2), layer(.inputGradient, 16, 32, 32, stride: 2),
      layer(.filterGradient, 64, 64, 32), layer(.filterGradient, 128, 128, 16),
      layer(.filterGradient, 256, 256, 8), layer(.filterGradient, 512, 512, 4),
      layer(.filterGradient, 16, 16, 32), layer(.filterGradient, 32, 32, 16),
      layer(.filterGradient, 3, 64, 32), layer(.filterGradient, 64, 128, 32, stride: 2),
      layer(.filterGradient, 256, 512, 8, stride: 2),
      layer(.filterGradient, 128, 256, 16, kernel: 1, stride: 2),
      product(batch, 512, 10, false, true), product(batch, 10, 512, false, false),
      product(10, batch, 512, true, false), product(batch, 1024, 256, false, true),
    ]
  }

  // MARK: - On a device

  /// The operator on tensors of a device.
  struct Prepared {
    var program: Program
    var output: Tensor
  }

  /// Makes the operands, the same numbers in the same order of memory on every device.
  func prepare(on backend: any Backend) throws -> Prepared {
    var program = Program()
    var count = 0
    func operand(_ shape: Shape, _ role: TensorRole) throws -> Value {
      let tensor = try backend.makeTensor(shape, role: role)
      count += 1
      try Self.numbers(shape.count, offset: count * 7919).withUnsafeBytes {
        try backend.writeBytes($0, to: tensor)
      }
      return program.bind(tensor)
    }
    let output: Tensor
    switch form {
    case .matrixProduct(let transposeA, let transposeB):
      let a = try operand(transposeA ? Shape(inputs, batch) : Shape(batch, inputs), .plain)
      let b = try operand(transposeB ? Shape(outputs, inputs) : Shape(inputs, outputs), .plain)
      output = try backend.makeTensor(Shape(batch, outputs))
      program.append(
        .matrixProduct(
          MatrixProduct(
            a: a, b: b, output: program.bind(output), transposeA: transposeA, transposeB: transposeB)))
    default:
      let image = Shape(batch, inputs, extent, extent)
      let result = geometry.output(image, channels: outputs)
      let filter = Shape(outputs, inputs, kernel, kernel)
      func prologue() throws -> Prologue {
        let scale = try operand(.vector(inputs), .plain)
        let shift = try operand(.vector(inputs), .plain)
        return Prologue(affine: ChannelAffine(scale: scale, shift: shift), activation: .relu)
      }
      switch form {
      case .convolution:
        output = try backend.makeTensor(result, role: .image)
        program.append(
          .convolution(
            Convolution(
              input: try operand(image, .image), filter: try operand(filter, .filter),
              output: program.bind(output), geometry: geometry, prologue: try prologue())))
      case .inputGradient:
        output = try backend.makeTensor(image, role: .image)
        program.append(
          .convolutionInputGradient(
            ConvolutionInputGradient(
              outputGradient: try operand(result, .image), filter: try operand(filter, .filter),
              inputGradient: program.bind(output), geometry: geometry)))
      default:
        output = try backend.makeTensor(filter, role: .filter)
        program.append(
          .convolutionFilterGradient(
            ConvolutionFilterGradient(
              input: try operand(image, .image), outputGradient: try operand(result, .image),
              filterGradient: program.bind(output), geometry: geometry, prologue: try prologue())))
      }
    }
    return Prepared(program: program, output: output)
  }

  /// A tensor's elements in the order of its memory, which is the same for all backends.
  static func elements(of tensor: Tensor, on backend: any Backend) throws -> [Float] {
    var elements = [Float](repeating: 0, count: tensor.shape.count)
    try elements.withUnsafeMutableBytes { try backend.readBytes(of: tensor, into: $0) }
    return elements
  }

  /// Numbers between -1 and 1: a block that is repeated, of a length that has nothing in common with any layer's.
  private static func numbers(_ count: Int, offset: Int) -> [Float] {
    (0..<count).map { block[($0 + offset) % block.count] }
  }

  private static let block: [Float] = {
    var stream = PhiloxStream(seed: 0, purpose: 0)
    return (0..<65_521).map { _ in 2 * stream.nextUniform() - 1 }
  }()
}
