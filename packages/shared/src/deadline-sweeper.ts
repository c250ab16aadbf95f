import { faultPoint } from './fault-point.ts';
import type { Clock, JobStore } from './ports.ts';

export interface DeadlineSweeperOptions {
  store: Pick<JobStore, 'sweep'>;
  partitions: number;
  clock: Clock;
  onError: (error: Error) => void;
}

/** A deadline that is set meanwhile is met late by no more than this, and a bit. */
const LONGEST_PAUSE_MS = 1000;
const SHORTEST_PAUSE_MS = 50;
/** Between a hint and the look that it asks for: what comes meanwhile is looked at together. */
const HINT_PAUSE_MS = 5;
/** One script ends this many; more would hold Redis up for the others. */
const LIMIT = 100;

/**
 * Ends the runs whose time is up. APIs and workers all do it, so that a job expires though no worker runs, and a run
 * times out though its worker hangs. Each partition is looked at when its next deadline is due, and once a second: one
 * whose node is away keeps none of the others.
 */
export class DeadlineSweeper {
  readonly #options: DeadlineSweeperOptions;
  readonly #timers = new Map<number, { cancel(): void }>();
  readonly #hinted = new Set<number>();
  #isStopped = false;

  constructor(options: DeadlineSweeperOptions) {
    this.#options = options;
  }

  start(): void {
    for (let partition = 0; partition < this.#options.partitions; partition++) this.#plan(partition, SHORTEST_PAUSE_MS);
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  /** Something of a partition is due that nobody had planned for. */
  soon(partition: number): void {
    const timer = this.#timers.get(partition);
    if (this.#isStopped || this.#hinted.has(partition)) return;
    this.#hinted.add(partition);
    // Without a timer it is being looked at, and will be planned anew.
    if (!timer) return;
    timer.cancel();
    this.#plan(partition, HINT_PAUSE_MS);
  }

  #plan(partition: number, pauseMs: number): void {
    if (this.#isStopped) return;
    const timer = this.#options.clock.setTimeout(() => void this.#look(partition), pauseMs);
    this.#timers.set(partition, timer);
  }

  async #look(partition: number): Promise<void> {
    let pauseMs = LONGEST_PAUSE_MS;
    this.#timers.delete(partition);
    this.#hinted.delete(partition);
    try {
      const nextDueMs = await this.#sweep(partition);
      if (nextDueMs !== undefined) pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, nextDueMs));
    } catch (error) {
      this.#options.onError(error as Error);
    }
    this.#plan(partition, this.#hinted.has(partition) ? HINT_PAUSE_MS : pauseMs);
  }

  async #sweep(partition: number): Promise<number | undefined> {
    for (;;) {
      faultPoint('sweep.deadlines.before');
      const { due, nextDueMs } = await this.#options.store.sweep(partition, LIMIT);
      if (due > 0) faultPoint('sweep.deadlines.after');
      if (due < LIMIT) return nextDueMs;
    }
  }
}
