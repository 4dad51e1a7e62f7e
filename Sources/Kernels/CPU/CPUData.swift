import CKernels

extension CPUCompiler {
  func sliceRows(_ d: SliceRows) throws -> Step {
    let (rows, output) = (try integers(d.rows), try integers(d.output))
    let (count, available) = (shape(d.output).count, shape(d.rows).count)
    return { parameters in
      for i in 0..<count { output[i] = rows[max(0, min(available - 1, Int(parameters.rowOffset) + i))] }
    }
  }

  func gatherImages(_ d: GatherImages) throws -> Step {
    let images = try pointer(d.images).assumingMemoryBound(to: UInt8.self)
    let (rows, output) = (try integers(d.rows), try floats(d.output))
    let shape = shape(d.output)
    let size = shape.count / shape.n
    return { _ in
      Parallel.ranges(shape.n, grain: 16) { range in
        for i in range { pbe_convert_bytes(images + Int(rows[i]) * size, output + i * size, size) }
      }
    }
  }

  func gatherIntegers(_ d: GatherIntegers) throws -> Step {
    let (table, rows, output) = (try integers(d.table), try integers(d.rows), try integers(d.output))
    let count = shape(d.output).count
    return { _ in
      for i in 0..<count { output[i] = table[Int(rows[i])] }
    }
  }

  func storeRows(_ d: StoreRows) throws -> Step {
    let (input, table) = (try pointer(d.input), try pointer(d.table))
    let row = program[d.input].byteCount / shape(d.input).n
    let (count, available) = (shape(d.input).n, shape(d.table).n)
    return { parameters in
      let first = Int(parameters.rowOffset)
      let kept = min(count, available - first)
      if kept > 0, first >= 0 { (table + first * row).copyMemory(from: input, byteCount: kept * row) }
    }
  }
}
