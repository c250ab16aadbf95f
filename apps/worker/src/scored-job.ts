import type {
  ClaimedJob,
  JobError,
  JobOutcome,
  Origin,
  PredictionRecord,
  RowResult,
  WorkerTimings,
} from '@onqueue/shared';
import type { BatchedRowOutcome } from './batching/dynamic-batcher.ts';
import { originOn } from './origin-on-provider.ts';

/** What computed rows of a job, and how each of them went. */
export interface Computed {
  origin: Origin;
  rows: readonly BatchedRowOutcome[];
}

/**
 * The end of a job whose rows have all ended: it fails with its first failed row, unless it was asked to go on. `computed` is
 * missing where no model saw any row.
 */
export function scoredJob(
  job: ClaimedJob,
  results: readonly RowResult[],
  { computed, worker }: { computed: Computed | undefined; worker: string },
): JobOutcome {
  const error = job.request.on_row_error === 'fail' ? firstError(results) : undefined;
  const state = error ? 'failed' : 'succeeded';
  if (!computed) return { state, results, ...(error ? { error } : {}) };
  const { origin, rows } = computed;
  const last = rows.reduce((latest, row) => (endOf(row) > endOf(latest) ? row : latest));
  // A fallback's answers say nothing about how this model drifts.
  const isPrediction = !error && origin.model === job.model && !results.some(isFallback);
  return {
    state,
    results,
    ...(error ? { error } : {}),
    origin: originOn(last.batch.executionProvider, origin),
    batch: {
      batch_size: last.batch.size,
      batches: rows.length === 1 ? 1 : new Set(rows.map(({ batch }) => batch)).size,
      worker,
    },
    timings: timingsOf(last),
    ...(isPrediction ? { prediction: predictionOf(job, last, results) } : {}),
  };
}

function isFallback(result: RowResult): boolean {
  return result.status === 'succeeded' && result.served_by !== undefined;
}

function predictionOf(job: ClaimedJob, last: BatchedRowOutcome, results: readonly RowResult[]): PredictionRecord {
  const { preprocess_ms, inference_ms, postprocess_ms } = last.batch.timings;
  return {
    schema_version: 1,
    job_id: job.id,
    run: job.run,
    tenant: job.tenant,
    request_id: job.request.request_id,
    latency_ms: last.batchWaitMs + preprocess_ms + inference_ms + postprocess_ms,
    scores: results.map((result) => (result.status === 'succeeded' ? plainValues(result.output) : null)),
  };
}

/** Scores, labels and decisions; not the long tail of class probabilities. */
function plainValues(output: Record<string, unknown>): Record<string, number | string> {
  const isPlain = (value: unknown) => typeof value === 'number' || typeof value === 'string';
  return Object.fromEntries(Object.entries(output).filter(([, value]) => isPlain(value))) as Record<
    string,
    number | string
  >;
}

function firstError(results: readonly RowResult[]): JobError | undefined {
  for (const [row, result] of results.entries()) {
    if (result.status === 'failed') {
      return { code: result.error.code, detail: `Row ${row} of ${results.length} failed: ${result.error.detail}`, row };
    }
  }
  return undefined;
}

function endOf({ batch: { startedAtMs, timings } }: BatchedRowOutcome): number {
  return startedAtMs + timings.preprocess_ms + timings.inference_ms + timings.postprocess_ms;
}

/** Of the row that ended last: its phases follow one another and span the job. */
function timingsOf({ batchWaitMs, batch: { timings } }: BatchedRowOutcome): WorkerTimings {
  return { batch_wait_ms: batchWaitMs, ...timings };
}
