import { z } from 'zod';
import type { JobError } from '../job.ts';
import type { ClaimedJob } from '../ports.ts';
import { type RowResult, rowResult } from '../row-result.ts';

/**
 * A run of some rows alone: the record holds the results of the others, of the run before or out of the cache. Whoever claims the job gets the rows that
 * have none, and what it commits is put in among those that have. Done here and not in the scripts, whose cjson would round.
 */
const keptResults = z.object({ run: z.number().int(), results: z.array(rowResult) });

/** The job with the rows that are to be scored; whole where nothing is kept that can be read, or nothing is unfinished. */
export function withKept(job: ClaimedJob, text = ''): ClaimedJob {
  if (text === '') return job;
  const parsed = keptResults.safeParse(JSON.parse(text));
  if (!parsed.success) return job;
  const { run, results } = parsed.data;
  const rows = job.inputs.flatMap((_, row) => (results[row]?.status === 'succeeded' ? [] : [row]));
  if (rows.length === 0) return job;
  const inputs = rows.map((row) => job.inputs[row] ?? {});
  return { ...job, inputs, kept: { run, results, rows, total: job.inputs.length } };
}

/** Those of all rows; one that an earlier run made says which. */
export function allResults({ kept }: ClaimedJob, results: readonly RowResult[]): readonly RowResult[] {
  if (!kept) return results;
  const all = kept.results.map(
    (result): RowResult =>
      result.status === 'succeeded' && !result.cached ? { ...result, run: result.run ?? kept.run } : result,
  );
  for (const [index, row] of kept.rows.entries()) {
    const result = results[index];
    if (result) all[row] = result;
  }
  return all;
}

/** The error with the row's number among all. */
export function errorOfAll({ kept }: ClaimedJob, error: JobError | undefined): JobError | undefined {
  const row = error?.row === undefined ? undefined : kept?.rows[error.row];
  if (!kept || !error || row === undefined) return error;
  return { ...error, row, detail: error.detail.replace(/^Row \d+ of \d+/, `Row ${row} of ${kept.total}`) };
}
