/** Of the target, for what is not foreseen: a runner that is busy, a batch that takes longer than others. */
const FIRST_BUDGET = 0.8;
/** Rows after which the 99th percentile says something; rows that are late say it sooner. */
const WINDOW_ROWS = 400;
const LATE_ROWS = 12;
/** How strongly, and by how much at most, a window changes the budget: down in one step, up in several. */
const GAIN = 0.7;
const MAX_FALL = 0.6;
const MAX_RISE = 1.15;
/** Beyond it no budget would be kept. */
const MAX_BUDGET = 1.1;

/**
 * Holds the 99th percentile of how long interactive rows are in the worker at a target: what is left of it is time to wait for company.
 *
 * A batch waits until its oldest row, by what the batch is expected to compute, would just end within a *budget*. So when load
 * changes, the wait does with the next batch: more rows compute for longer, and wait less. The budget makes up for what is not
 * foreseen. It follows the ratio of target and measured percentile, window by window; rows that are late by a tenth of the target, more of
 * them than a percentile allows, end a window at once.
 */
export class LatencyTarget {
  readonly targetMs: number;
  #budgetMs: number;
  readonly #window = new Float64Array(WINDOW_ROWS);
  #rows = 0;
  #lateRows = 0;

  constructor(targetMs: number) {
    this.targetMs = targetMs;
    this.#budgetMs = targetMs * FIRST_BUDGET;
  }

  /** How long the oldest row of a batch that computes for so long may have waited when it starts. */
  delayMs(computeMs: number): number {
    return Math.max(0, this.#budgetMs - computeMs);
  }

  /** A row has ended. */
  observe(latencyMs: number): void {
    this.#window[this.#rows++] = latencyMs;
    if (latencyMs > this.targetMs * 1.1) this.#lateRows += 1;
    if (this.#rows === WINDOW_ROWS || this.#lateRows >= LATE_ROWS) this.#adjust();
  }

  #adjust(): void {
    const sorted = this.#window.subarray(0, this.#rows).sort();
    const p99 = sorted[Math.ceil(0.99 * this.#rows) - 1] ?? this.targetMs;
    const change = (this.targetMs / Math.max(p99, 0.001)) ** GAIN;
    const budgetMs = this.#budgetMs * Math.min(MAX_RISE, Math.max(MAX_FALL, change));
    // Never so little that it could not rise again.
    this.#budgetMs = Math.min(MAX_BUDGET * this.targetMs, Math.max(0.05 * this.targetMs, budgetMs));
    this.#rows = 0;
    this.#lateRows = 0;
  }
}
