import type { Clock } from '@onqueue/shared';

const SLOTS = 10;

/**
 * How much was counted in the last `windowMs`, to a tenth of it: what is older falls out slot by slot. Counting costs two
 * additions, since it is done for every job.
 */
export class SlidingCount {
  readonly #clock: Clock;
  readonly #slotMs: number;
  readonly #counts = new Array<number>(SLOTS).fill(0);
  /** The number of the slot that was counted in last. */
  #at = 0;

  constructor({ clock, windowMs }: { clock: Clock; windowMs: number }) {
    this.#clock = clock;
    this.#slotMs = windowMs / SLOTS;
    this.#at = Math.floor(clock.now() / this.#slotMs);
  }

  add(count = 1): void {
    this.#turn();
    const slot = this.#at % SLOTS;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }

  get sum(): number {
    this.#turn();
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  clear(): void {
    this.#counts.fill(0);
  }

  #turn(): void {
    const now = Math.floor(this.#clock.now() / this.#slotMs);
    if (now - this.#at >= SLOTS) this.clear();
    else for (let slot = this.#at + 1; slot <= now; slot++) this.#counts[slot % SLOTS] = 0;
    this.#at = now;
  }
}
