import Kernels

extension LabeledImages {
  /// The training set as an attack leaves it: the changed images with the trigger in their pixels, rounded to bytes,
  /// and the attack's labels. What an attack draws anew in each epoch is that of the first.
  ///
  /// Throws as ``DeviceImages``, what `progress` throws, and `badData` when a trigger's pixels are not finite.
  public func poisoned(
    by poison: PoisonedSet, trigger: any Trigger, on backend: any Backend,
    progress: (_ share: Double) throws -> Void = { _ in }
  ) throws -> LabeledImages {
    let changed = poison.roles.indices.filter { poison.roles[$0] != .clean }
    var pixels = pixels
    if !changed.isEmpty {
      let batch = min(256, changed.count)
      let data = try DeviceImages(
        self, on: backend, labels: poison.labels, roles: poison.roles, trigger: trigger)
      let rows = try backend.makeTensor(changed.map { Int32($0) }, shape: Shape(changed.count, 1))
      let output = try backend.makeTensor(Shape(batch, channels, height, width), role: .image)
      var program = Program()
      let loaded = try data.load(batch, rows: rows, in: &program)
      program.append(.copy(Copy(input: loaded.images, output: program.bind(output))))
      let load = try backend.compile([program])[0]
      for first in stride(from: 0, to: changed.count, by: batch) {
        try load.run(RunParameters(rowOffset: Int32(first)))
        let values = try backend.read(output)
        for (position, index) in changed[first..<min(first + batch, changed.count)].enumerated() {
          for offset in 0..<imageSize {
            let value = values[position * imageSize + offset]
            guard value.isFinite else {
              throw PBEError(
                .badData, "the trigger makes pixels of image \(index) that are not finite", at: name)
            }
            pixels[index * imageSize + offset] = UInt8((min(max(value, 0), 1) * 255).rounded())
          }
        }
        try progress(Double(min(first + batch, changed.count)) / Double(changed.count))
      }
    }
    return try LabeledImages(
      name: name, channels: channels, height: height, width: width, classes: classes, classNames: classNames,
      pixels: pixels, labels: poison.labels, files: files)
  }
}
