import { z } from 'zod';
import {
  type JobRecord,
  type JobRequestRecord,
  jobError,
  metadata,
  provenance,
  type RunRecord,
  type Timings,
  timings,
} from './job.ts';
import { isTerminal, jobState, terminalState } from './job-state.ts';
import { lane } from './lane.ts';
import { rowResult } from './row-result.ts';
import { serviceLevel } from './service-class.ts';

const timestamp = z.iso.datetime();

/** A job as clients see it: the answer of `GET /jobs/{id}` and the `data` of a webhook. */
export const jobView = z.object({
  id: z.string(),
  object: z.literal('job'),
  status: jobState,
  model: z.string(),
  version: z.string(),
  lane,
  priority: z.number().int(),
  /** What its `service_class` stood for when it was accepted; null without one. */
  service: serviceLevel.nullable(),
  run: z.number().int(),
  attempt: z.number().int(),
  created_at: timestamp,
  /** Before this the job is not started; null when it may be. */
  scheduled_at: timestamp.nullable(),
  started_at: timestamp.nullable(),
  finished_at: timestamp.nullable(),
  /** When the job is forgotten; null while it has not ended. */
  expires_at: timestamp.nullable(),
  rows: z.object({ total: z.number().int(), succeeded: z.number().int(), failed: z.number().int() }),
  /** One entry a row, in the order of `inputs`; null while the job has not ended. */
  results: z.array(rowResult).nullable(),
  /** `fallback` when any row was answered by one (`served_by` of the result says which); null while no row has an answer. */
  served_by: z.enum(['model', 'fallback']).nullable(),
  error: jobError.nullable(),
  timings: timings.nullable(),
  provenance: provenance.nullable(),
  metadata,
  request_id: z.string(),
  urls: z.object({
    self: z.string(),
    result: z.string(),
    events: z.string(),
    cancel: z.string(),
    retry: z.string(),
    runs: z.string(),
  }),
});
export type JobView = z.infer<typeof jobView>;

/** `baseUrl` makes the links absolute; without it they are paths. */
export function toJobView(record: JobRecord, baseUrl = ''): JobView {
  const results = record.results ?? null;
  return {
    id: record.id,
    object: 'job',
    status: record.state,
    model: record.model,
    version: record.version,
    lane: record.lane,
    priority: record.request.priority ?? 0,
    service: record.request.service ?? null,
    run: record.run,
    attempt: record.attempt,
    created_at: isoTime(record.created_us),
    scheduled_at: record.scheduled_ms === undefined ? null : new Date(record.scheduled_ms).toISOString(),
    started_at: record.started_us === undefined ? null : isoTime(record.started_us),
    finished_at: record.finished_us === undefined ? null : isoTime(record.finished_us),
    expires_at: record.expires_ms === undefined ? null : new Date(record.expires_ms).toISOString(),
    rows: { total: record.rows, ...countRows(results) },
    results,
    served_by: servedBy(results),
    error: record.error ?? null,
    timings: viewTimings(record, record.request),
    provenance: record.provenance ?? null,
    metadata: record.request.metadata ?? {},
    request_id: record.request.request_id,
    urls: jobUrls(record.id, baseUrl),
  };
}

/** A job in a list: all but what can be large. */
export const jobSummary = jobView
  .omit({ results: true, served_by: true, timings: true, provenance: true })
  .extend({ rows: z.object({ total: z.number().int() }) });
export type JobSummary = z.infer<typeof jobSummary>;

export function toJobSummary(record: JobRecord, baseUrl = ''): JobSummary {
  const { results, served_by, timings, provenance, rows, ...summary } = toJobView(record, baseUrl);
  return { ...summary, rows: { total: rows.total } };
}

/** How a job ended, for those who want nothing else: the answer of `GET /jobs/{id}/result`. */
export const jobResult = jobView
  .pick({ id: true, model: true, version: true, run: true, rows: true, error: true, provenance: true })
  .extend({
    object: z.literal('job.result'),
    status: terminalState,
    finished_at: timestamp,
    results: jobView.shape.results.describe('Null when the job ended before a row was scored.'),
  });
export type JobResult = z.infer<typeof jobResult>;

/** Undefined while the job has not ended. */
export function toJobResult(record: JobRecord): JobResult | undefined {
  if (!isTerminal(record.state) || record.finished_us === undefined) return undefined;
  const { id, model, version, run, rows, results, error, provenance } = toJobView(record);
  return {
    object: 'job.result',
    id,
    model,
    version,
    run,
    status: record.state,
    finished_at: isoTime(record.finished_us),
    rows,
    results,
    error,
    provenance,
  };
}

/** One run of a job, in `GET /jobs/{id}/runs`. */
export const runView = jobView
  .pick({
    run: true,
    status: true,
    attempt: true,
    started_at: true,
    finished_at: true,
    rows: true,
    results: true,
    served_by: true,
  })
  .extend({
    object: z.literal('run'),
    queued_at: timestamp,
    error: jobView.shape.error,
    timings: jobView.shape.timings,
    provenance: jobView.shape.provenance,
  });
export type RunView = z.infer<typeof runView>;

/** A run of a job, its latest or an earlier one. */
export function toRunView(record: RunRecord | JobRecord, { rows, request }: JobRecord): RunView {
  const results = record.results ?? null;
  return {
    object: 'run',
    run: record.run,
    status: record.state,
    attempt: record.attempt,
    queued_at: isoTime(record.queued_us),
    started_at: record.started_us === undefined ? null : isoTime(record.started_us),
    finished_at: record.finished_us === undefined ? null : isoTime(record.finished_us),
    rows: { total: rows, ...countRows(results) },
    results,
    served_by: servedBy(results),
    error: record.error ?? null,
    timings: viewTimings(record, request),
    provenance: record.provenance ?? null,
  };
}

export function jobUrls(id: string, baseUrl = ''): JobView['urls'] {
  const self = `${baseUrl}/jobs/${id}`;
  return {
    self,
    result: `${self}/result`,
    events: `${self}/events`,
    cancel: `${self}/cancel`,
    retry: `${self}/retry`,
    runs: `${self}/runs`,
  };
}

function countRows(results: JobView['results']): { succeeded: number; failed: number } {
  const succeeded = results?.filter((row) => row.status === 'succeeded').length ?? 0;
  return { succeeded, failed: (results?.length ?? 0) - succeeded };
}

function servedBy(results: JobView['results']): JobView['served_by'] {
  const answered = results?.filter((row) => row.status === 'succeeded') ?? [];
  if (answered.length === 0) return null;
  return answered.some((row) => row.served_by === 'fallback') ? 'fallback' : 'model';
}

function viewTimings(record: RunRecord | JobRecord, request: JobRequestRecord): Timings | null {
  if (!isTerminal(record.state) || record.finished_us === undefined || !record.timings) return null;
  const worker = record.timings;
  const queueMs = ((record.started_us ?? record.finished_us) - record.queued_us) / 1000;
  const sinceQueuedMs = (record.finished_us - record.queued_us) / 1000;
  // Only the first run came over the network; version 1 of the record does not say how long that took.
  const arrival = record.run === 1 ? request : undefined;
  const networkInMs = arrival?.network_in_ms ?? 0;
  const validateMs = arrival?.validate_ms ?? 0;
  const workerMs = worker.batch_wait_ms + worker.preprocess_ms + worker.inference_ms + worker.postprocess_ms;
  const rounded = (ms: number) => Math.round(ms * 1000) / 1000;
  return {
    network_in_ms: rounded(networkInMs),
    validate_ms: rounded(validateMs),
    queue_ms: rounded(queueMs),
    batch_wait_ms: rounded(worker.batch_wait_ms),
    preprocess_ms: rounded(worker.preprocess_ms),
    inference_ms: rounded(worker.inference_ms),
    postprocess_ms: rounded(worker.postprocess_ms),
    // The worker's clock and Redis' may disagree by a hair; a phase is never negative.
    store_ms: rounded(Math.max(0, sinceQueuedMs - queueMs - workerMs)),
    total_ms: rounded(networkInMs + validateMs + sinceQueuedMs),
  };
}

function isoTime(microseconds: number): string {
  return new Date(Math.floor(microseconds / 1000)).toISOString();
}
