import type { ClaimedJob, Clock, JobOutcome } from '@onqueue/shared';
import { HaltSignal } from './batching/halt-signal.ts';

export interface HeldRun {
  id: string;
  run: number;
}

interface Hold {
  job: ClaimedJob;
  signal: HaltSignal;
  end(outcome: JobOutcome): void;
}

const HANDED_BACK: JobOutcome = { state: 'queued', spendsAttempt: false };

/** A commit that has not been answered for so long is not waited for any more; its job may be somebody else's. */
const FORGET_MS = 60_000;

/**
 * The jobs in this worker's hands, so that one can be dropped whose run ended elsewhere, and all can be handed back when
 * a drain takes too long.
 *
 * held ── its work ends ──> uncommitted ── release(), or a minute ──> gone.
 */
export class HeldJobs {
  readonly #clock: Clock;
  /** A job that stalled here may be in it twice, when it comes back while its first attempt still runs. */
  readonly #holds = new Set<Hold>();
  /** When their work ended; those that ended first come first. */
  readonly #uncommitted = new Map<ClaimedJob, number>();
  #isHandingBack = false;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** Whether nothing is being computed and nothing waits to be committed. */
  get isEmpty(): boolean {
    this.#forgetOld();
    return this.#holds.size === 0 && this.#uncommitted.size === 0;
  }

  /** Whether a job of this version is being computed, or waits for it. */
  holds({ name, version }: { name: string; version: string }): boolean {
    for (const { job } of this.#holds) if (job.model === name && job.version === version) return true;
    return false;
  }

  /** Runs the work with a signal that `halt` sets off; `handBackAll()` ends it before its time. */
  hold(job: ClaimedJob, work: (signal: HaltSignal) => Promise<JobOutcome>): Promise<JobOutcome> {
    if (this.#isHandingBack) return Promise.resolve(HANDED_BACK);
    // No race with one promise that all jobs share: it would remember every job that ever ran in it.
    return new Promise((resolve, reject) => {
      const end = (outcome: JobOutcome) => {
        this.#letGo(hold);
        resolve(outcome);
      };
      const hold: Hold = { job, signal: new HaltSignal(), end };
      this.#holds.add(hold);
      work(hold.signal).then(end, (error: unknown) => {
        this.#letGo(hold);
        reject(error);
      });
    });
  }

  /** The job was committed, or fenced: milliseconds since its work ended, undefined when it was not held or forgotten. */
  release(job: ClaimedJob): number | undefined {
    const endedAtMs = this.#uncommitted.get(job);
    this.#uncommitted.delete(job);
    return endedAtMs === undefined ? undefined : this.#clock.now() - endedAtMs;
  }

  /** The message may be late, when the next run of the job is under way: that one is not meant. */
  halt({ id, run }: HeldRun): void {
    for (const { job, signal } of this.#holds) if (job.id === id && job.run === run) signal.halt();
  }

  /** Every job that is held, and any that comes later, goes back to the queue at once, for another worker. */
  handBackAll(): void {
    this.#isHandingBack = true;
    for (const { end } of this.#holds) end(HANDED_BACK);
  }

  /** Once: work that was handed back ends as well, some time later. */
  #letGo(hold: Hold): void {
    if (!this.#holds.delete(hold)) return;
    this.#forgetOld();
    this.#uncommitted.set(hold.job, this.#clock.now());
  }

  #forgetOld(): void {
    for (const [job, endedAtMs] of this.#uncommitted) {
      if (this.#clock.now() - endedAtMs < FORGET_MS) break;
      this.#uncommitted.delete(job);
    }
  }
}
