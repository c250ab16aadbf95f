import type { JobOutcome } from '@onqueue/shared';
import { HaltSignal } from './batching/halt-signal.ts';

export interface HeldRun {
  id: string;
  run: number;
}

/**
 * The jobs in this worker's hands, so that one can be dropped whose run ended elsewhere, and all can be handed back when
 * a drain takes too long.
 */
export class HeldJobs {
  readonly #signals = new Map<string, Set<HaltSignal>>();
  readonly #handedBack: Promise<JobOutcome>;
  #handBack: (outcome: JobOutcome) => void = () => {};

  constructor() {
    this.#handedBack = new Promise((resolve) => {
      this.#handBack = resolve;
    });
  }

  /** Runs the work with a signal that `halt` sets off; `handBackAll()` ends it before its time. */
  async hold(held: HeldRun, work: (signal: HaltSignal) => Promise<JobOutcome>): Promise<JobOutcome> {
    const signal = new HaltSignal();
    const key = keyOf(held);
    // A job that stalled here may come back while its first attempt still runs.
    const signals = this.#signals.get(key) ?? new Set();
    this.#signals.set(key, signals.add(signal));
    try {
      return await Promise.race([work(signal), this.#handedBack]);
    } finally {
      signals.delete(signal);
      if (signals.size === 0) this.#signals.delete(key);
    }
  }

  /** The message may be late, when the next run of the job is under way: that one is not meant. */
  halt(ended: HeldRun): void {
    for (const signal of this.#signals.get(keyOf(ended)) ?? []) signal.halt();
  }

  /** Every job that is held, and any that comes later, goes back to the queue at once, for another worker. */
  handBackAll(): void {
    this.#handBack({ state: 'queued', spendsAttempt: false });
  }
}

function keyOf({ id, run }: HeldRun): string {
  return `${id}-${run}`;
}
