import PBE

/// The cells of a sweep and how far they are, as `sweep` prints them.
struct SweepListing {
  private struct Record: Encodable {
    struct Run: Encodable {
      var index: Int, name: String, cells: [String]
    }
    struct Cell: Encodable {
      var name: String, state: SweepCellFolder.State, folder: String, arguments: [String], error: String?
    }
    var sweep: String, runs: [Run], cells: [Cell]
  }

  private let plan: SweepPlan
  private let rows: [String: SweepResults.Row]

  init(_ results: SweepResults, _ plan: SweepPlan) {
    self.plan = plan
    rows = Dictionary(results.rows.map { ($0.cell.name, $0) }) { $1 }
  }

  /// Prints a table or, with `json`, one JSON object.
  func print(asJSON json: Bool) throws {
    if json {
      return try Output.json(
        Record(
          sweep: plan.sweep.name,
          runs: plan.runs.enumerated().map { index, run in
            Record.Run(
              index: index, name: run.name, cells: run.jobs.map { plan.jobs[$0].folder.cell.name })
          },
          cells: plan.jobs.map { job in
            let row = rows[job.folder.cell.name]
            return Record.Cell(
              name: job.folder.cell.name, state: row?.state ?? .missing, folder: job.folder.path,
              arguments: job.arguments, error: row?.error)
          }))
    }
    try Output.table(
      [["cell", "state", "ACC", "ASR"]]
        + plan.jobs.map { job in
          let row = rows[job.folder.cell.name]
          return [
            job.folder.cell.name, row?.state.rawValue ?? "", Output.percent(row?.rate("acc")),
            Output.percent(row?.rate("asr")),
          ]
        })
  }
}
