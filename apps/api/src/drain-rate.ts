import type { LaneBacklog } from '@onqueue/shared';

/** Intervals that are remembered of a model, a second each, and for how long. */
const WINDOW = 30;
const REMEMBERED_MS = 600_000;
/** Workers may have come since: by what is older no job is told that it has no chance. */
const RECENT_MS = 30_000;
/** From fewer nothing is concluded. */
const FEWEST = 2;
/** An interval that is much longer is a gap: Redis, or this process, was away. */
const LONGEST_INTERVAL_MS = 5000;

interface Sample {
  atMs: number;
  finishedRows: number;
  finishedJobs: number;
  isSaturated: boolean;
}

interface Rate {
  atMs: number;
  rowsPerS: number;
  jobsPerS: number;
}

/**
 * How much a model's workers do in a second when they have plenty: what they do with little says how little it was. Only
 * intervals count at whose both ends jobs waited that no worker had room for.
 */
export class DrainRate {
  readonly #last = new Map<string, Sample>();
  readonly #rates = new Map<string, Rate[]>();

  observe(model: string, atMs: number, { finishedRows, finishedJobs, oldestUnclaimed }: LaneBacklog): void {
    const sample = { atMs, finishedRows, finishedJobs, isSaturated: oldestUnclaimed.some(({ jobs }) => jobs > 0) };
    const last = this.#last.get(model);
    this.#last.set(model, sample);
    if (!last?.isSaturated || !sample.isSaturated) return;
    const [rows, ms] = [finishedRows - last.finishedRows, atMs - last.atMs];
    // Nothing at all is a worker that is away, or a lane that is paused: no rate that anybody could wait by.
    if (rows <= 0 || ms <= 0 || ms > LONGEST_INTERVAL_MS) return;
    const rate = { atMs, rowsPerS: (rows * 1000) / ms, jobsPerS: ((finishedJobs - last.finishedJobs) * 1000) / ms };
    this.#rates.set(model, [...(this.#rates.get(model) ?? []), rate].slice(-WINDOW));
  }

  /** The middle one of those measured last; undefined while there are too few. */
  rowsPerSecond(model: string, nowMs: number): number | undefined {
    const rates = this.#within(model, nowMs - REMEMBERED_MS);
    return rates?.map(({ rowsPerS }) => rowsPerS).toSorted((a, b) => a - b)[rates.length >> 1];
  }

  /** The best of the last moments; undefined when there were too few. */
  bestJobsPerSecond(model: string, nowMs: number): number | undefined {
    const rates = this.#within(model, nowMs - RECENT_MS);
    return rates && Math.max(...rates.map(({ jobsPerS }) => jobsPerS));
  }

  #within(model: string, sinceMs: number): Rate[] | undefined {
    const rates = (this.#rates.get(model) ?? []).filter(({ atMs }) => atMs >= sinceMs);
    return rates.length < FEWEST ? undefined : rates;
  }
}
