/** The middle value; the mean of the two middle ones when their number is even. @throws RangeError without values. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? at(sorted, middle) : (at(sorted, middle - 1) + at(sorted, middle)) / 2;
}

/**
 * The `p`-th percentile (0…100) by nearest rank: the smallest value that at least `p` % of the values do not exceed. It
 * is always a value that was measured, never one between two. @throws RangeError without values.
 */
export function percentile(values: readonly number[], p: number): number {
  if (p < 0 || p > 100) throw new RangeError(`percentile ${p} is not in 0…100`);
  return at(ascending(values), nearestRank(values.length, p) - 1);
}

/** The position (1…count) of the `p`-th percentile among `count` sorted values. */
export function nearestRank(count: number, p: number): number {
  return Math.max(1, Math.ceil((p / 100) * count));
}

/** The least and the greatest value. @throws RangeError without values. */
export function spread(values: readonly number[]): [min: number, max: number] {
  const sorted = ascending(values);
  return [at(sorted, 0), at(sorted, sorted.length - 1)];
}

function ascending(values: readonly number[]): number[] {
  return values.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new RangeError('no values');
  return value;
}
