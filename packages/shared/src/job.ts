import { z } from 'zod';
import { toldProgress } from './job-progress.ts';
import { jobState, terminalState } from './job-state.ts';
import { lane } from './lane.ts';
import { rowResult } from './row-result.ts';
import { serviceLevel } from './service-class.ts';

/**
 * The version of the stored record. Raise it when a field changes its meaning, and teach the reader both.
 * 1: every record held its whole `provenance`. 2: it names its `origin`, which is stored once, and holds the rest. 3: its
 * inputs or results are in the blob store; one that has both in itself is written as 2.
 */
export const JOB_SCHEMA_VERSION = 3;

export const onRowError = z.enum(['fail', 'continue']);
export type OnRowError = z.infer<typeof onRowError>;

/** Stripe's limits: at most 50 keys of 40 characters, values of 500. */
export const metadata = z
  .record(z.string().min(1).max(40), z.union([z.string().max(500), z.number(), z.boolean(), z.null()]))
  .refine((value) => Object.keys(value).length <= 50, 'at most 50 keys');

/** What the client asked for, beside model and rows, and how long it took to arrive. Kept as it came, never changed. */
export const jobRequestRecord = z.object({
  metadata: metadata.optional(),
  webhook: z.string().optional(),
  on_row_error: onRowError,
  request_id: z.string(),
  /** Seconds from the start of a run to its end. */
  timeout_s: z.number().optional(),
  /** Seconds from queueing to the start of a run. */
  expires_in_s: z.number().optional(),
  /** Seconds from acceptance after which the first run is canceled. */
  cancel_after_s: z.number().optional(),
  /** Not before: seconds from acceptance, or Unix milliseconds. */
  delay_s: z.number().optional(),
  run_at_ms: z.number().optional(),
  /** Above 0 before others of the tenant, below after them. */
  priority: z.number().int().optional(),
  /** Attempts after the first one; as configured when it is missing. */
  retries: z.number().int().optional(),
  /** Seconds from the end; as configured when it is missing. */
  retention_s: z.number().optional(),
  /** Types of the events that the webhook is told of; all when it is missing. */
  webhook_events: z.array(z.string()).optional(),
  service: serviceLevel.optional(),
  /** Answers to its rows are not kept for others. */
  no_store: z.literal(true).optional(),
  /** Milliseconds from the request's headers to the end of its body, and from there until it was handed to the store. */
  network_in_ms: z.number().optional(),
  validate_ms: z.number().optional(),
  /** The trace that the job is part of: under the span of its request where spans are recorded, else as the client sent it. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
});
export type JobRequestRecord = z.infer<typeof jobRequestRecord>;

/** The part of a provenance that is the same for every result of a version on one kind of runtime. */
export const origin = z.object({
  model: z.string(),
  version: z.string(),
  artifact_sha256: z.string(),
  preprocess_sha256: z.string(),
  /** Labels, thresholds and bands: versioned apart from the weights. */
  decision_policy_sha256: z.string(),
  runtime: z.object({ name: z.string(), version: z.string() }),
  execution_provider: z.string(),
});
export type Origin = z.infer<typeof origin>;

/** The part of a provenance that is one attempt's own. */
export const batchTrace = z.object({
  /** Rows in the batch that finished the job. */
  batch_size: z.number().int(),
  /** Batches that the job's rows were spread over. */
  batches: z.number().int(),
  worker: z.string(),
});
export type BatchTrace = z.infer<typeof batchTrace>;

/** What made a result; every result carries it. */
export const provenance = origin.extend({ ...batchTrace.shape, run: z.number().int(), attempt: z.number().int() });
export type Provenance = z.infer<typeof provenance>;

/**
 * Where the time went, milliseconds. The phases of the row that ended last, so that they follow one another: network in →
 * validate → queue → batch wait (with the way to the runner and back) → preprocess → inference → postprocess → store, which is
 * the rest of the way from claim to commit. `total_ms` is their sum: from the request's arrival to the commit. A run that
 * was opened by a retry begins in the queue.
 */
export const timings = z.object({
  network_in_ms: z.number(),
  validate_ms: z.number(),
  queue_ms: z.number(),
  batch_wait_ms: z.number(),
  preprocess_ms: z.number(),
  inference_ms: z.number(),
  postprocess_ms: z.number(),
  store_ms: z.number(),
  total_ms: z.number(),
});
export type Timings = z.infer<typeof timings>;
/** What a worker measures with its own monotonic clock; the rest comes from the times in the record. */
export const workerTimings = timings.pick({
  batch_wait_ms: true,
  preprocess_ms: true,
  inference_ms: true,
  postprocess_ms: true,
});
export type WorkerTimings = z.infer<typeof workerTimings>;

/** Why a job failed: the first row that did. */
export const jobError = z.object({ code: z.string(), detail: z.string(), row: z.number().int().optional() });
export type JobError = z.infer<typeof jobError>;

/** A job as it is read back from the store. Times are Unix microseconds of the Redis server's clock. */
export const jobRecord = z.object({
  schema_version: z.coerce.number().int().min(1).max(JOB_SCHEMA_VERSION),
  id: z.string(),
  tenant: z.string(),
  state: jobState,
  run: z.coerce.number().int(),
  attempt: z.coerce.number().int(),
  model: z.string(),
  version: z.string(),
  lane,
  rows: z.coerce.number().int(),
  created_us: z.coerce.number(),
  started_us: z.coerce.number().optional(),
  finished_us: z.coerce.number().optional(),
  expires_ms: z.coerce.number().optional(),
  request: jobRequestRecord,
  results: z.array(rowResult).optional(),
  error: jobError.optional(),
  provenance: provenance.optional(),
  timings: workerTimings.optional(),
  queued_us: z.coerce.number(),
  /** Before this it is in no queue; missing when it is, or was. */
  scheduled_ms: z.coerce.number().optional(),
  /** The latest that was told, perhaps of an earlier run. */
  progress: toldProgress.optional(),
});
export type JobRecord = z.infer<typeof jobRecord>;

/** A run before the latest one, as it ended. */
export const runRecord = z.object({
  /** Version 1 did not write it. */
  schema_version: z.number().int().min(1).max(JOB_SCHEMA_VERSION).default(1),
  run: z.number().int(),
  state: terminalState,
  attempt: z.number().int(),
  queued_us: z.number(),
  started_us: z.number().optional(),
  finished_us: z.number(),
  results: z.array(rowResult).optional(),
  error: jobError.optional(),
  provenance: provenance.optional(),
  timings: workerTimings.optional(),
  progress: toldProgress.optional(),
});
export type RunRecord = z.infer<typeof runRecord>;

/** One line of the prediction log: who answered what, and how fast. Its origin stands beside it. Never the inputs. */
export const predictionRecord = z.object({
  schema_version: z.literal(1),
  job_id: z.string(),
  run: z.number().int(),
  tenant: z.string(),
  request_id: z.string(),
  /** Milliseconds in the worker. */
  latency_ms: z.number(),
  /** Per row what was answered, without the long tail of class probabilities; null for a failed row. */
  scores: z.array(z.record(z.string(), z.union([z.number(), z.string()])).nullable()),
});
export type PredictionRecord = z.infer<typeof predictionRecord>;
