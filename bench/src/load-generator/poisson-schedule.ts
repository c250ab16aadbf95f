/**
 * When to send, as milliseconds from the start: arrivals of a Poisson process, `count` of them at `ratePerS` on
 * average, with exponential gaps. The same seed gives the same schedule, so that rounds meet the same bursts.
 */
export function poissonSchedule({ ratePerS, count, seed }: PoissonOptions): number[] {
  const random = uniform(seed);
  const meanGapMs = 1000 / ratePerS;
  let atMs = 0;
  return Array.from({ length: count }, () => {
    // 1 - u is never 0, whose logarithm would be infinite.
    atMs -= Math.log(1 - random()) * meanGapMs;
    return atMs;
  });
}

export interface PoissonOptions {
  ratePerS: number;
  count: number;
  /** Any 32-bit integer. */
  seed: number;
}

/** Mulberry32: numbers in [0, 1), 32 bits of state; more than random enough for gaps. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
