import type { RowResult } from '@onqueue/shared';
import { type Difference, type GoldenRow, worstDifference } from '../models/golden-rows.ts';
import { ModelLoadError } from './model-load-error.ts';
import type { ModelProgram } from './model-program.ts';

export type WarmUpOptions = {
  program: Pick<ModelProgram, 'run'>;
  rows: readonly GoldenRow[];
  /** Largest absolute difference between numbers that passes, of rows that name none of their own. */
  tolerance: number;
  maxBatchSize: number;
};

/**
 * Replays the golden rows, in batches as large as they will come: the first runs of a session are slow, and a model
 * that no longer answers what its training computed must not serve. Rejects with a `ModelLoadError` naming the worst row.
 */
export async function warmUp({ program, rows, tolerance, maxBatchSize }: WarmUpOptions): Promise<void> {
  const wrong: Mismatch[] = [];
  for (let start = 0; start < rows.length; start += maxBatchSize) {
    const batch = rows.slice(start, start + maxBatchSize);
    const { results } = await program.run(batch.map(({ input }) => input));
    for (const [index, golden] of batch.entries()) {
      const difference = differenceOf(results[index], golden);
      const allowed = golden.tolerance ?? tolerance;
      if (!(difference.difference <= allowed)) wrong.push({ ...difference, line: golden.line, tolerance: allowed });
    }
  }
  const [first, ...others] = wrong;
  if (!first) return;
  const worst = others.reduce((most, next) => (excessOf(next) > excessOf(most) ? next : most), first);
  throw new ModelLoadError(
    `${wrong.length} of ${rows.length} golden rows differ by more than is tolerated; ` +
      `the worst is that of line ${worst.line}, at ${worst.pointer}: ` +
      `expected ${shown(worst.expected)}, got ${shown(worst.actual)}, with a tolerance of ${worst.tolerance}.`,
  );
}

/** All that can be proved of a version without golden rows: that it answers. Rejects with a `ModelLoadError` when it does not. */
export async function tryRow(program: Pick<ModelProgram, 'run'>, row: unknown): Promise<void> {
  const { results } = await program.run([row]);
  const [result] = results;
  if (result?.status === 'succeeded') return;
  throw new ModelLoadError(`The example of the manifest is not answered: ${result?.error.detail}`);
}

type Mismatch = Difference & { line: number; tolerance: number };

/** How far a difference is beyond what is tolerated there: tolerances differ, so that differences alone cannot be compared. */
function excessOf({ difference, tolerance }: Mismatch): number {
  return difference / tolerance;
}

const MAX_SHOWN = 200;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function differenceOf(result: RowResult | undefined, golden: GoldenRow): Difference {
  return result?.status === 'succeeded'
    ? worstDifference(result.output, golden.output)
    : { difference: Number.POSITIVE_INFINITY, pointer: '/', expected: golden.output, actual: result?.error };
}
