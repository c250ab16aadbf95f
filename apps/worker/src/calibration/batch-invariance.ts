import { isDeepStrictEqual } from 'node:util';
import type { Clock, RowResult } from '@onqueue/shared';

/** So many rows are run alone, or as many as take so long: it puts off that a version serves. */
const MAX_ROWS = 8;
const SINGLES_MS = 200;

export interface BatchInvarianceOptions {
  /** Rows that the model is known to answer. */
  rows: readonly unknown[];
  batchSize: number;
  run: (rows: readonly unknown[]) => Promise<{ results: readonly RowResult[] }>;
  clock: Clock;
}

/** Whether rows have the same answers alone and in a batch, to the last bit; true where there are no batches. */
export async function isBatchInvariant({ rows, batchSize, run, clock }: BatchInvarianceOptions): Promise<boolean> {
  if (batchSize === 1) return true;
  const startedAtMs = clock.now();
  const alone: (RowResult | undefined)[] = [];
  for (const row of rows.slice(0, MAX_ROWS)) {
    alone.push((await run([row])).results[0]);
    if (clock.now() - startedAtMs > SINGLES_MS) break;
  }
  const { results } = await run(Array.from({ length: batchSize }, (_, index) => rows[index % alone.length]));
  return results.every((result, index) => isDeepStrictEqual(result, alone[index % alone.length]));
}
