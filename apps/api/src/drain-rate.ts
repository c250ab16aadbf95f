import type { LaneBacklog } from '@onqueue/shared';

/** Intervals that are remembered of a model, a second each. */
const WINDOW = 30;
/** From fewer nothing is concluded. */
const FEWEST = 2;
/** An interval that is much longer is a gap: Redis, or this process, was away. */
const LONGEST_INTERVAL_MS = 5000;

interface Sample {
  atMs: number;
  finishedRows: number;
  isSaturated: boolean;
}

/**
 * How many rows a second a model's workers do when they have plenty: what they do with little says how little it was. Only
 * intervals count at whose both ends jobs waited that no worker had room for.
 */
export class DrainRate {
  readonly #last = new Map<string, Sample>();
  readonly #rates = new Map<string, number[]>();

  observe(model: string, atMs: number, { finishedRows, oldestUnclaimed }: LaneBacklog): void {
    const sample = { atMs, finishedRows, isSaturated: oldestUnclaimed.some(({ jobs }) => jobs > 0) };
    const last = this.#last.get(model);
    this.#last.set(model, sample);
    if (!last?.isSaturated || !sample.isSaturated) return;
    const [rows, ms] = [finishedRows - last.finishedRows, atMs - last.atMs];
    // Nothing at all is a worker that is away, or a lane that is paused: no rate that anybody could wait by.
    if (rows <= 0 || ms <= 0 || ms > LONGEST_INTERVAL_MS) return;
    const rates = this.#rates.get(model) ?? [];
    this.#rates.set(model, [...rates, (rows * 1000) / ms].slice(-WINDOW));
  }

  /** The middle one of those measured last; undefined while there are too few. */
  rowsPerSecond(model: string): number | undefined {
    const rates = this.#rates.get(model) ?? [];
    if (rates.length < FEWEST) return undefined;
    return rates.toSorted((a, b) => a - b)[rates.length >> 1];
  }
}
