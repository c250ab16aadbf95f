import type { BlobRegister, BlobStore } from './blob-store.ts';
import type { Clock } from './ports.ts';

export interface BlobSweeperOptions {
  blobs: Pick<BlobStore, 'delete'>;
  register: Pick<BlobRegister, 'due' | 'forget'>;
  partitions: number;
  clock: Clock;
  onError: (error: Error) => void;
  intervalMs?: number;
}

const INTERVAL_MS = 5000;
const LIMIT = 100;

/**
 * Deletes blobs whose time has come: first the blob, then its entry, so that a sweep that dies is done again by the next one. APIs
 * and workers all do it.
 */
export class BlobSweeper {
  readonly #options: BlobSweeperOptions;
  #timer: { cancel(): void } | undefined;
  #isStopped = false;

  constructor(options: BlobSweeperOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStopped) return;
    const { clock, intervalMs = INTERVAL_MS } = this.#options;
    this.#timer = clock.setTimeout(() => void this.sweep().then(() => this.start()), intervalMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** All that is due by now. Never rejects. */
  async sweep(): Promise<void> {
    for (let partition = 0; partition < this.#options.partitions && !this.#isStopped; partition++) {
      try {
        await this.#sweepPartition(partition);
      } catch (error) {
        this.#options.onError(error as Error);
      }
    }
  }

  async #sweepPartition(partition: number): Promise<void> {
    const { blobs, register } = this.#options;
    for (;;) {
      const due = await register.due(partition, LIMIT);
      for (const key of due) await blobs.delete(key);
      await register.forget(partition, due);
      if (due.length < LIMIT || this.#isStopped) return;
    }
  }
}
