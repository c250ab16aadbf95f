import { nearestRank } from '../statistics.ts';

/** Every bucket is 2 % wider than the one below it, so that a percentile is at most 2 % too high. */
const GROWTH = 1.02;
const LEAST_MS = 0.01;

/** A bucket of a histogram: how many latencies were above the bucket before it and not above `upToMs`. */
export interface HistogramBucket {
  upToMs: number;
  count: number;
}

/** Latencies in logarithmic buckets: its size depends on their range, not on their number. */
export class LatencyHistogram {
  readonly #counts = new Map<number, number>();
  #count = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  record(ms: number): void {
    const bucket = Math.max(0, Math.ceil(Math.log(Math.max(ms, LEAST_MS) / LEAST_MS) / Math.log(GROWTH)));
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
    this.#count++;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  /** By nearest rank: the upper bound of the bucket, or the greatest latency where that is less. 0 without any. */
  percentile(p: number): number {
    const rank = nearestRank(this.#count, p);
    let seen = 0;
    for (const { upToMs, count } of this.buckets()) {
      seen += count;
      if (seen >= rank) return Math.min(upToMs, this.#maxMs);
    }
    return 0;
  }

  /** The buckets that are not empty, shortest latency first. */
  buckets(): HistogramBucket[] {
    return [...this.#counts]
      .sort(([a], [b]) => a - b)
      .map(([bucket, count]) => ({ upToMs: LEAST_MS * GROWTH ** bucket, count }));
  }
}
