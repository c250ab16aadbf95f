import type { Clock } from '@onqueue/shared';
import { SlidingCount } from './sliding-count.ts';

export interface RetryBudgetOptions {
  /** Retries per hundred first attempts. */
  percent: number;
  /** Retries that are there without any first attempt, so that a model with little to do is tried again too. */
  floor: number;
  clock: Clock;
}

/** Long enough that a burst of failures meets the first attempts that came with it. */
const WINDOW_MS = 10_000;

/**
 * How many attempts of one model may be tried again: in any 10 s so many as a share of its first attempts, and a few more.
 *
 * When a model fails for everybody, retries multiply the load just when it is least able to bear it. A share keeps that
 * factor near 1, whatever number of attempts a job has; backoff alone only puts the storm off. Finagle's retry budget is
 * the model for it.
 */
export class RetryBudget {
  readonly #options: RetryBudgetOptions;
  readonly #firstAttempts: SlidingCount;
  readonly #retries: SlidingCount;

  constructor(options: RetryBudgetOptions) {
    this.#options = options;
    this.#firstAttempts = new SlidingCount({ clock: options.clock, windowMs: WINDOW_MS });
    this.#retries = new SlidingCount({ clock: options.clock, windowMs: WINDOW_MS });
  }

  countFirstAttempt(): void {
    this.#firstAttempts.add();
  }

  /** Whether there is a retry left; it is spent then. */
  trySpend(): boolean {
    const { percent, floor } = this.#options;
    if (this.#retries.sum >= floor + (percent / 100) * this.#firstAttempts.sum) return false;
    this.#retries.add();
    return true;
  }
}
