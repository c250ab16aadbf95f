import type { Clock, JobStore } from './ports.ts';

export interface DeadlineSweeperOptions {
  store: Pick<JobStore, 'sweep'>;
  partitions: number;
  clock: Clock;
  onError: (error: Error) => void;
}

/** Late by no more than this, and a bit. */
const INTERVAL_MS = 250;
/** One script ends this many; more would hold Redis up for the others. */
const LIMIT = 100;

/**
 * Ends the runs whose time is up. APIs and workers all do it, so that a job expires though no worker runs, and a run
 * times out though its worker hangs.
 */
export class DeadlineSweeper {
  readonly #options: DeadlineSweeperOptions;
  #timer: { cancel(): void } | undefined;
  #isStopped = false;

  constructor(options: DeadlineSweeperOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      void this.#sweep()
        .catch(this.#options.onError)
        .then(() => this.start());
    }, INTERVAL_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #sweep(): Promise<void> {
    const { store, partitions } = this.#options;
    for (let partition = 0; partition < partitions; partition++) {
      for (let due = LIMIT; due === LIMIT; ) due = await store.sweep(partition, LIMIT);
    }
  }
}
