import type { RowResult } from '@onqueue/shared';
import { type Difference, type GoldenRow, worstDifference } from '../models/golden-rows.ts';
import { ModelLoadError } from './model-load-error.ts';
import type { ModelProgram } from './model-program.ts';

export type WarmUpOptions = {
  program: Pick<ModelProgram, 'run'>;
  rows: readonly GoldenRow[];
  /** Largest absolute difference between numbers that passes. */
  tolerance: number;
  maxBatchSize: number;
};

/**
 * Replays the golden rows, in batches as large as they will come: the first runs of a session are slow, and a model
 * that no longer answers what its training computed must not serve. Rejects with a `ModelLoadError` naming the worst row.
 */
export async function warmUp({ program, rows, tolerance, maxBatchSize }: WarmUpOptions): Promise<void> {
  const differences: Difference[] = [];
  for (let start = 0; start < rows.length; start += maxBatchSize) {
    const batch = rows.slice(start, start + maxBatchSize);
    const { results } = await program.run(batch.map(({ input }) => input));
    for (const [index, golden] of batch.entries()) differences.push(differenceOf(results[index], golden));
  }
  const worst = differences.reduce((max, next) => (next.difference > max.difference ? next : max));
  if (worst.difference <= tolerance) return;
  const wrong = differences.filter(({ difference }) => difference > tolerance).length;
  throw new ModelLoadError(
    `${wrong} of ${rows.length} golden rows differ by more than ${tolerance}; ` +
      `the worst is row ${differences.indexOf(worst) + 1}, at ${worst.pointer}: ` +
      `expected ${JSON.stringify(worst.expected)}, got ${JSON.stringify(worst.actual)}.`,
  );
}

/** All that can be proved of a version without golden rows: that it answers. Rejects with a `ModelLoadError` when it does not. */
export async function tryRow(program: Pick<ModelProgram, 'run'>, row: unknown): Promise<void> {
  const { results } = await program.run([row]);
  const [result] = results;
  if (result?.status === 'succeeded') return;
  throw new ModelLoadError(`The example of the manifest is not answered: ${result?.error.detail}`);
}

function differenceOf(result: RowResult | undefined, golden: GoldenRow): Difference {
  return result?.status === 'succeeded'
    ? worstDifference(result.output, golden.output)
    : { difference: Number.POSITIVE_INFINITY, pointer: '/', expected: golden.output, actual: result?.error };
}
