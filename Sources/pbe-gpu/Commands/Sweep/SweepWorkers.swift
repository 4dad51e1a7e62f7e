import Foundation
import Kernels
import Logging
import PBE
import Synchronization

/// Runs the jobs of a sweep, several at once, each when those that it needs are done.
final class SweepWorkers: Sendable {
  private enum State {
    case waiting, running, done
    case failed(PBEError)
  }

  private enum Next {
    case job(Int)
    /// What is left needs jobs that are running.
    case later
    case nothing
  }

  private let jobs: [SweepJob]
  /// The places of the jobs that each needs.
  private let needs: [[Int]]
  private let slots: [SweepJob.Slot]
  private let log: Logger
  private let states: Mutex<[State]>

  /// One worker for each slot.
  init(_ jobs: [SweepJob], slots: [SweepJob.Slot], log: Logger) {
    self.jobs = jobs
    self.slots = slots
    self.log = log
    let places = Dictionary(uniqueKeysWithValues: jobs.enumerated().map { ($1.folder.cell.name, $0) })
    needs = jobs.map { $0.folder.cell.needs.values.compactMap { places[$0] }.sorted() }
    states = Mutex(jobs.map { _ in .waiting })
  }

  /// Runs everything, until the end or a signal. A job that fails does not stop those that don't need it.
  ///
  /// - Returns: the jobs that failed, in order.
  func run() -> [(job: SweepJob, error: PBEError)] {
    let group = DispatchGroup()
    // Threads rather than a queue, which would have no more of them at work than there are cores.
    for slot in slots.dropFirst() {
      group.enter()
      Thread.detachNewThread {
        self.work(in: slot)
        group.leave()
      }
    }
    work(in: slots[0])
    group.wait()
    return states.withLock { states in
      zip(jobs, states).compactMap { job, state in
        if case .failed(let error) = state { (job, error) } else { nil }
      }
    }
  }

  private func work(in slot: SweepJob.Slot) {
    while !Interruption.isRequested {
      switch next() {
      case .nothing: return
      case .later: Thread.sleep(forTimeInterval: 0.1)
      case .job(let index):
        let state = run(index, slot)
        states.withLock { $0[index] = state }
      }
    }
  }

  private func next() -> Next {
    states.withLock { states in
      var isWaiting = false
      for index in jobs.indices {
        guard case .waiting = states[index] else { continue }
        isWaiting = true
        let isReady = needs[index].allSatisfy { need in
          switch states[need] {
          case .done, .failed: true
          case .waiting, .running: false
          }
        }
        guard isReady else { continue }
        states[index] = .running
        return .job(index)
      }
      return isWaiting ? .later : .nothing
    }
  }

  private func run(_ index: Int, _ slot: SweepJob.Slot) -> State {
    let job = jobs[index]
    let place = "[\(index + 1)/\(jobs.count)] \(job.folder.cell.name)"
    let obstacle: PBEError? = states.withLock { states in
      for need in needs[index] {
        guard case .failed(let error) = states[need] else { continue }
        return PBEError(error.kind, "it needs \(jobs[need].folder.cell.name), which failed")
      }
      return nil
    }
    do {
      if let obstacle { throw obstacle }
      try job.run(log, place, on: slot)
      try job.folder.keep()
      return .done
    } catch let error as PBEError where error.kind == .interrupted && Interruption.isRequested {
      return .waiting
    } catch {
      let error = error as? PBEError ?? PBEError(.internal, "\(error)")
      log.warning("\(place) failed: \(error.description)")
      return .failed(error)
    }
  }
}
