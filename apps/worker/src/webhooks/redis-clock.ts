/**
 * Redis' clock between two of its answers, carried on by the monotonic clock of this process. The wall clock of the machine may be
 * wrong by minutes or jump: receivers refuse a signature with a timestamp that is far off, and dispatchers must agree on what is due.
 */
export class RedisClock {
  readonly #monotonicMs: () => number;
  #offsetMs: number | undefined;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  get isSet(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** What Redis has just answered. */
  set(nowMs: number): void {
    this.#offsetMs = nowMs - this.#monotonicMs();
  }

  /** Unix milliseconds. */
  now(): number {
    if (this.#offsetMs === undefined) throw new Error("Redis' clock was asked before Redis was. This is a bug.");
    return this.#monotonicMs() + this.#offsetMs;
  }
}
