import Kernels

extension GoldenCases {
  static func pool(_ name: String, _ golden: GoldenCase, _ kind: PoolGeometry.Kind) throws -> OperatorCase {
    let (x, y) = (try golden.tensor("x"), try golden.tensor("y"))
    let (dy, dx) = (try golden.tensor("dy"), try golden.tensor("dx"))
    let shape = x.deviceShape
    // Without a kernel the pooling is global.
    let geometry = PoolGeometry(
      kind, kernelHeight: golden.integer("kernel") ?? shape.h,
      kernelWidth: golden.integer("kernel") ?? shape.w,
      stride: golden.integer("stride") ?? 1, padding: golden.integer("padding") ?? 0)
    return OperatorCase(name) { b in
      let (x, y, dy, dx) = (b.image(x, "x"), b.output(y, "y"), b.image(dy, "dy"), b.output(dx, "dx"))
      b.run { p in
        p.append(.pool(Pool(input: p.bind(x), output: p.bind(y), geometry: geometry)))
        p.append(
          .poolGradient(
            PoolGradient(
              outputGradient: p.bind(dy), input: kind == .maximum ? p.bind(x) : nil,
              inputGradient: p.bind(dx),
              geometry: geometry)))
      }
    }
  }

  static func resize(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, y) = (try golden.tensor("x"), try golden.tensor("y"))
    let (dy, dx) = (golden.tensors["dy"], golden.tensors["dx"])
    let alignCorners = golden.flag("align_corners") ?? false
    let interpolation: Interpolation = golden.string("interpolation") == "bicubic" ? .bicubic : .bilinear
    return OperatorCase(name) { b in
      let (x, y) = (b.image(x, "x"), b.output(y, "y"))
      let gradients = dy.flatMap { dy in dx.map { (b.image(dy, "dy"), b.output($0, "dx")) } }
      b.run { p in
        p.append(
          .resize(
            Resize(
              input: p.bind(x), output: p.bind(y), interpolation: interpolation, alignCorners: alignCorners)))
        if let (dy, dx) = gradients {
          p.append(
            .resizeGradient(
              ResizeGradient(
                outputGradient: p.bind(dy), inputGradient: p.bind(dx), alignCorners: alignCorners)))
        }
      }
    }
  }

  static func gridSample(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, field, y) = (try golden.tensor("x"), try golden.tensor("field"), try golden.tensor("y"))
    return OperatorCase(name) { b in
      let (x, field, y) = (b.image(x, "x"), b.field(field), b.output(y, "y"))
      b.run { p in
        p.append(.gridSample(GridSample(input: p.bind(x), field: p.bind(field), output: p.bind(y))))
      }
    }
  }

  /// The warp of WaNet: the noise grown from its control points, and the images sampled at the field.
  static func wanet(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (control, noise) = (try golden.tensor("control"), try golden.tensor("noise"))
    let (x, field, y) = (try golden.tensor("x"), try golden.tensor("field"), try golden.tensor("y"))
    let (height, width) = (noise.deviceShape.c, noise.deviceShape.h)
    return OperatorCase(name) { b in
      let (x, field, y) = (b.image(x, "x"), b.field(field), b.output(y, "y"))
      let (control, grown) = (b.image(control, "control"), b.output(Shape(1, 2, height, width), "noise"))
      b.expect(grown, CaseBuilder.channelsFirst(noise).values)
      b.run { p in
        p.append(
          .resize(
            Resize(input: p.bind(control), output: p.bind(grown), interpolation: .bicubic, alignCorners: true)
          ))
        p.append(.gridSample(GridSample(input: p.bind(x), field: p.bind(field), output: p.bind(y))))
      }
    }
  }

  static func agreement(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (x, y, result) = (try golden.tensor("a"), try golden.tensor("b"), try golden.tensor("y"))
    return OperatorCase(name) { b in
      let (x, y, result) = (b.golden(x, "a"), b.golden(y, "b"), b.output(result, "y", role: .plain))
      b.run { p in p.append(.agreement(Agreement(a: p.bind(x), b: p.bind(y), output: p.bind(result)))) }
    }
  }

  static func crossEntropy(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (logits, labels) = (try golden.tensor("logits"), try golden.tensor("labels"))
    let (loss, dlogits) = (try golden.tensor("loss"), try golden.tensor("dlogits"))
    let rows = labels.values.count
    let guesses = Reference.argMax(ReferenceTensor(logits.deviceShape, logits.values))
    let correct = zip(guesses, labels.values).count { $0 == $1 }
    return OperatorCase(name) { b in
      let (logits, labels) = (b.image(logits, "logits"), b.golden(labels, "labels"))
      let (dlogits, totals) = (b.output(dlogits, "dlogits"), b.tensor("totals", [0, 0], .vector(2)))
      b.expect(totals, [loss.values[0] * Double(rows), Double(correct)])
      b.run { p in
        p.append(
          .softmaxCrossEntropy(
            SoftmaxCrossEntropy(
              logits: p.bind(logits), labels: p.bind(labels), totals: p.bind(totals),
              logitsGradient: p.bind(dlogits),
              gradientScale: 1 / Float(rows))))
      }
    }
  }

  /// The rows of a tensor of gradients, one per step.
  private static func steps(_ gradients: GoldenTensor) -> [[Double]] {
    let size = gradients.values.count / max(1, gradients.shape[0])
    return (0..<gradients.shape[0]).map { Array(gradients.values[$0 * size..<($0 + 1) * size]) }
  }

  static func sgd(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (before, after) = (try golden.tensor("before"), try golden.tensor("after"))
    let gradients = steps(try golden.tensor("gradients"))
    let (momentum, decay) = (Float(golden.number("momentum") ?? 0), Float(golden.number("weight_decay") ?? 0))
    let rate = Float(golden.number("learning_rate") ?? 0)
    let nesterov = golden.flag("nesterov") ?? false
    return OperatorCase(name) { b in
      let parameters = b.golden(before, "parameters")
      let velocity = b.tensor("velocity", before.values.map { _ in 0 }, before.deviceShape)
      b.expect(parameters, after.values)
      for (i, values) in gradients.enumerated() {
        let gradient = b.tensor("gradient \(i)", values, before.deviceShape)
        b.run(RunParameters(step: UInt32(i + 1), learningRate: rate)) { p in
          p.append(
            .sgd(
              SGD(
                parameters: p.bind(parameters), gradients: p.bind(gradient), velocity: p.bind(velocity),
                momentum: momentum, weightDecay: decay, nesterov: nesterov)))
        }
      }
    }
  }

  static func adam(_ name: String, _ golden: GoldenCase) throws -> OperatorCase {
    let (before, after) = (try golden.tensor("before"), try golden.tensor("after"))
    let gradients = steps(try golden.tensor("gradients"))
    let (epsilon, decay) = (Float(golden.number("eps") ?? 1e-8), Float(golden.number("weight_decay") ?? 0))
    let rate = Float(golden.number("learning_rate") ?? 0)
    return OperatorCase(name) { b in
      let parameters = b.golden(before, "parameters")
      let first = b.tensor("first moment", before.values.map { _ in 0 }, before.deviceShape)
      let second = b.tensor("second moment", before.values.map { _ in 0 }, before.deviceShape)
      b.expect(parameters, after.values)
      for (i, values) in gradients.enumerated() {
        let gradient = b.tensor("gradient \(i)", values, before.deviceShape)
        b.run(RunParameters(step: UInt32(i + 1), learningRate: rate)) { p in
          p.append(
            .adam(
              Adam(
                parameters: p.bind(parameters), gradients: p.bind(gradient), firstMoment: p.bind(first),
                secondMoment: p.bind(second), epsilon: epsilon, weightDecay: decay)))
        }
      }
    }
  }
}
