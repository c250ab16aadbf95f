import { jobState } from '@onqueue/shared';
import { z } from 'zod';

const rowResult = z.looseObject({
  status: z.string(),
  output: z.unknown().optional(),
  error: z.looseObject({ code: z.string(), detail: z.string() }).optional(),
});

/** What the command line reads of a job; whatever else a newer API says is passed on. */
export const shownJob = z.looseObject({
  id: z.string(),
  status: jobState,
  model: z.string(),
  version: z.string(),
  lane: z.string(),
  created_at: z.string(),
  rows: z.looseObject({ total: z.number() }),
  run: z.number().optional(),
  attempt: z.number().optional(),
  finished_at: z.string().nullish(),
  position: z.number().optional(),
  results: z.array(rowResult).nullish(),
  error: z.looseObject({ code: z.string(), detail: z.string() }).nullish(),
  timings: z.looseObject({ total_ms: z.number() }).nullish(),
  metadata: z.record(z.string(), z.unknown()).optional(),
});
export type ShownJob = z.infer<typeof shownJob>;

/** Beyond so many rows people look at a file instead: `--json`. */
const MAX_ROWS = 20;

/** A job for people. */
export function jobText(job: ShownJob): string {
  const { rows, results, error, timings, metadata = {} } = job;
  const facts = [
    `${job.model}/${job.version}, ${job.lane}`,
    `${rows.total} ${rows.total === 1 ? 'row' : 'rows'}`,
    ...(job.run !== undefined && job.run > 1 ? [`run ${job.run}`] : []),
    ...(job.position === undefined ? [] : [`${job.position} ahead of it`]),
    ...(timings ? [`${timings.total_ms} ms`] : []),
  ];
  const shown = (results ?? []).slice(0, MAX_ROWS);
  return [
    `${job.id}  ${job.status}`,
    `  ${facts.join(', ')}`,
    ...Object.entries(metadata).map(([key, value]) => `  ${key}: ${String(value)}`),
    ...(error ? [`  ${error.code}: ${error.detail}`] : []),
    ...shown.map((row, index) => `  row ${index}: ${row.error ? rowErrorText(row.error) : JSON.stringify(row.output)}`),
    ...(results && results.length > MAX_ROWS ? [`  and ${results.length - MAX_ROWS} rows more; --json has all`] : []),
  ].join('\n');
}

/** A line for each; of a list. */
export function jobLine(job: ShownJob): string {
  return [job.id, job.status.padEnd(9), job.created_at, `${job.model}/${job.version}`, `${job.rows.total} rows`].join(
    '  ',
  );
}

function rowErrorText({ code, detail }: { code: string; detail: string }): string {
  return `${code}: ${detail}`;
}
