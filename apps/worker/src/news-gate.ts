import type { Clock } from '@onqueue/shared';

const REPEAT_MS = 10_000;

/** Lets a message through once in ten seconds: what a loop says at every turn would fill the log otherwise. */
export class NewsGate {
  readonly #clock: Clock;
  readonly #saidAtMs = new Map<string, number>();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  isNews(message: string): boolean {
    const now = this.#clock.now();
    for (const [said, atMs] of this.#saidAtMs) if (now - atMs >= REPEAT_MS) this.#saidAtMs.delete(said);
    if (this.#saidAtMs.has(message)) return false;
    this.#saidAtMs.set(message, now);
    return true;
  }
}
