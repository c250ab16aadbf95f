import type { Clock, JobIndex } from '@onqueue/shared';

export interface ListPrunerOptions {
  index: Pick<JobIndex, 'prune'>;
  partitions: number;
  clock: Clock;
}

const PAUSE_MS = 10_000;

/** Has the lists of jobs freed of those that are gone. Every API asks; the index lets one of them do it. */
export class ListPruner {
  readonly #options: ListPrunerOptions;
  #timer: { cancel(): void } | undefined;

  constructor(options: ListPrunerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.setTimeout(() => {
      void this.#prune().then(() => {
        if (this.#timer) this.start();
      });
    }, PAUSE_MS);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** A partition whose node is away keeps none of the others. */
  async #prune(): Promise<void> {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      if (!this.#timer) return;
      await this.#options.index.prune(partition).catch(() => {
        // Redis is away: requests say so; the next walk comes anyway.
      });
    }
  }
}
