import { createHash } from 'node:crypto';
import { median } from '../statistics.ts';

/** Some 10 ms of hashing: long against the clock, short against a round. */
const HASHES = 12;
const BLOCK = Buffer.alloc(1_000_000, 7);
const REPEATS = 7;

/** How long a fixed piece of work takes on one core now: the median of some repeats, milliseconds. */
export function fixedTaskMs(): number {
  const times = Array.from({ length: REPEATS }, () => {
    const startedAt = performance.now();
    for (let count = 0; count < HASHES; count++) createHash('sha256').update(BLOCK).digest();
    return performance.now() - startedAt;
  });
  return median(times);
}
