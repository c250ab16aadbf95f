import type { Clock } from '@onqueue/shared';

export interface RecentReadsOptions<T> {
  read: (name: string) => Promise<T | null>;
  /** For how long what was read is believed. */
  ttlMs: number;
  maxEntries: number;
  clock: Pick<Clock, 'now'>;
}

/**
 * What was read of late, so that not every request asks the store. Who asks for the same at the same time waits for one
 * read. What is not there and what went wrong is not remembered.
 */
export class RecentReads<T> {
  readonly #options: RecentReadsOptions<T>;
  /** In the order of their reads. */
  readonly #values = new Map<string, { value: T; untilMs: number }>();
  readonly #pending = new Map<string, Promise<T | null>>();

  constructor(options: RecentReadsOptions<T>) {
    this.#options = options;
  }

  get(name: string): Promise<T | null> {
    const found = this.#values.get(name);
    if (found && found.untilMs > this.#options.clock.now()) return Promise.resolve(found.value);
    const pending = this.#pending.get(name);
    if (pending) return pending;
    const reading = this.#options.read(name).then(
      (value) => {
        this.#end(name, reading, value);
        return value;
      },
      (error: unknown) => {
        this.#end(name, reading, null);
        throw error;
      },
    );
    this.#pending.set(name, reading);
    return reading;
  }

  /** So that who changes something sees it at once, in this process: also what is being read now is not kept. */
  forget(name: string): void {
    this.#values.delete(name);
    this.#pending.delete(name);
  }

  #end(name: string, reading: Promise<T | null>, value: T | null): void {
    if (this.#pending.get(name) !== reading) return;
    this.#pending.delete(name);
    this.#values.delete(name);
    if (value === null) return;
    const { ttlMs, maxEntries, clock } = this.#options;
    this.#values.set(name, { value, untilMs: clock.now() + ttlMs });
    const [oldest] = this.#values.keys();
    if (this.#values.size > maxEntries && oldest !== undefined) this.#values.delete(oldest);
  }
}
