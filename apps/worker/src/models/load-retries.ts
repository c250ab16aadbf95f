import type { Clock } from '@onqueue/shared';

/** A failure that may pass (no memory, a runner that was killed) is tried again so soon, and twice as long each time. */
const RETRY_MS = { first: 10_000, last: 300_000 };

/** When what could not be loaded is tried again, each `Key` by itself. */
export class LoadRetries<Key> {
  readonly #clock: Clock;
  readonly #waiting = new Map<Key, { delayMs: number; timer: { cancel(): void } }>();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  later(key: Key, again: () => void): void {
    const before = this.#waiting.get(key);
    before?.timer.cancel();
    const delayMs = before ? Math.min(before.delayMs * 2, RETRY_MS.last) : RETRY_MS.first;
    this.#waiting.set(key, { delayMs, timer: this.#clock.setTimeout(again, delayMs) });
  }

  /** It was loaded, or is gone: the next failure is a first one. */
  forget(key: Key): void {
    this.#waiting.get(key)?.timer.cancel();
    this.#waiting.delete(key);
  }

  stop(): void {
    for (const { timer } of this.#waiting.values()) timer.cancel();
  }
}
