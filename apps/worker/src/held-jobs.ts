import type { ClaimedJob, Clock, JobOutcome } from '@onqueue/shared';
import { HaltSignal } from './batching/halt-signal.ts';

export interface HeldRun {
  id: string;
  run: number;
}

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
  readonly #signals = new Map<string, Set<HaltSignal>>();
  /** When their work ended; those that ended first come first. */
  readonly #uncommitted = new Map<ClaimedJob, number>();
  readonly #handedBack: Promise<JobOutcome>;
  #handBack: (outcome: JobOutcome) => void = () => {};

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
    this.#handedBack = new Promise((resolve) => {
      this.#handBack = resolve;
    });
  }

  /** Whether nothing is being computed and nothing waits to be committed. */
  get isEmpty(): boolean {
    this.#forgetOld();
    return this.#signals.size === 0 && this.#uncommitted.size === 0;
  }

  /** Runs the work with a signal that `halt` sets off; `handBackAll()` ends it before its time. */
  async hold(job: ClaimedJob, work: (signal: HaltSignal) => Promise<JobOutcome>): Promise<JobOutcome> {
    const signal = new HaltSignal();
    const key = keyOf(job);
    // A job that stalled here may come back while its first attempt still runs.
    const signals = this.#signals.get(key) ?? new Set();
    this.#signals.set(key, signals.add(signal));
    try {
      return await Promise.race([work(signal), this.#handedBack]);
    } finally {
      signals.delete(signal);
      if (signals.size === 0) this.#signals.delete(key);
      this.#forgetOld();
      this.#uncommitted.set(job, this.#clock.now());
    }
  }

  /** The job was committed, or fenced: milliseconds since its work ended, undefined when it was not held or forgotten. */
  release(job: ClaimedJob): number | undefined {
    const endedAtMs = this.#uncommitted.get(job);
    this.#uncommitted.delete(job);
    return endedAtMs === undefined ? undefined : this.#clock.now() - endedAtMs;
  }

  /** The message may be late, when the next run of the job is under way: that one is not meant. */
  halt(ended: HeldRun): void {
    for (const signal of this.#signals.get(keyOf(ended)) ?? []) signal.halt();
  }

  /** Every job that is held, and any that comes later, goes back to the queue at once, for another worker. */
  handBackAll(): void {
    this.#handBack({ state: 'queued', spendsAttempt: false });
  }

  #forgetOld(): void {
    for (const [job, endedAtMs] of this.#uncommitted) {
      if (this.#clock.now() - endedAtMs < FORGET_MS) break;
      this.#uncommitted.delete(job);
    }
  }
}

function keyOf({ id, run }: HeldRun): string {
  return `${id}-${run}`;
}
