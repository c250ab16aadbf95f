import type { Clock } from '@onqueue/shared';

const QUIET_MS = 10_000;

/**
 * Lets a message through when it has not been heard for ten seconds: what comes again and again, in a loop or at every
 * attempt to reconnect, is told once, however long it lasts.
 */
export class NewsGate {
  readonly #clock: Clock;
  readonly #heardAtMs = new Map<string, number>();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  isNews(message: string): boolean {
    const now = this.#clock.now();
    for (const [heard, atMs] of this.#heardAtMs) if (now - atMs >= QUIET_MS) this.#heardAtMs.delete(heard);
    const isNews = !this.#heardAtMs.has(message);
    this.#heardAtMs.set(message, now);
    return isNews;
  }

  /** What went on is over: should it come again, it is news. */
  forget(): void {
    this.#heardAtMs.clear();
  }
}
