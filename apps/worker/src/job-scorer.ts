import type {
  ClaimedJob,
  JobError,
  JobOutcome,
  Origin,
  PredictionRecord,
  RowResult,
  WorkerTimings,
} from '@onqueue/shared';
import type { BatchedRowOutcome, SubmitOptions } from './batching/dynamic-batcher.ts';
import type { HaltSignal } from './batching/halt-signal.ts';
import { type Attempt, afterFault, failedWhole } from './queue/job-source.ts';
import type { CircuitBreaker } from './resilience/circuit-breaker.ts';
import type { RetryBudget } from './resilience/retry-budget.ts';

/** A version that this worker can compute, and what its results say about their origin. */
export interface ServedVersion {
  submit(rows: readonly unknown[], options: SubmitOptions): Promise<BatchedRowOutcome[]>;
  origin: Origin;
  circuit: Pick<CircuitBreaker, 'state' | 'whenAdmitting'>;
}

export interface JobScorerOptions {
  /** The versions of one model, by version. */
  versions: ReadonlyMap<string, ServedVersion>;
  worker: string;
  /** How long a job may wait for a worker that has its version, from when it was queued. */
  versionWaitMs: number;
  /** How long it may wait for a version that fails, from when it was queued. */
  unavailableWaitMs: number;
  /** The model's. */
  retries: Pick<RetryBudget, 'countFirstAttempt' | 'trySpend'>;
  /** A retryable failure became a final one, since the model's retries are used up. */
  onRetryRefused: (job: ClaimedJob) => void;
  /** Something broke that no row and no runner is to blame for. */
  onBug: (error: unknown, job: ClaimedJob) => void;
}

/**
 * How long a job is held here while the circuit of its version is open. It has its place in this worker's hands meanwhile, so
 * the queue stands nearly still, instead of going round at full speed; then it goes back for other workers to take, and
 * for jobs of other versions to come past.
 */
const HOLD_MS = 2000;
/** Of the `timeout` of its run, which has begun. */
const HOLD_SHARE_OF_TIMEOUT = 0.25;
/** How soon a job is offered again whose model fails. */
const UNAVAILABLE_DELAY_MS = 1000;

/** Turns the outcomes of a job's rows into the outcome of the job. */
export class JobScorer {
  readonly #options: JobScorerOptions;

  constructor(options: JobScorerOptions) {
    this.#options = options;
  }

  /** Scores every row; `queued` when a retry may mend what failed. Never rejects: a job that breaks us must end all the same. */
  async score(job: ClaimedJob, attempt: Attempt, halt: HaltSignal): Promise<JobOutcome> {
    try {
      return await this.#score(job, attempt, halt);
    } catch (cause) {
      this.#options.onBug(cause, job);
      return afterFault(job, attempt, new Error('Something broke on our side. Tell us the request_id.'));
    }
  }

  async #score(job: ClaimedJob, { isLast, isSuspect }: Attempt, halt: HaltSignal): Promise<JobOutcome> {
    const served = this.#options.versions.get(job.version);
    if (!served) return this.#versionIsElsewhere(job);
    if (served.circuit.state !== 'closed' && !(await served.circuit.whenAdmitting(halt, holdMsOf(job)))) {
      return this.#modelIsUnavailable(job, 'The model has failed too often of late.');
    }
    if (!isSuspect) this.#options.retries.countFirstAttempt();
    const rows = await served.submit(job.inputs, { lane: job.lane, halt, isApart: isSuspect });
    // Its run has ended elsewhere: whatever comes of it here, the fence refuses.
    if (halt.isHalted) return { state: 'queued', spendsAttempt: false };
    const unavailable = rows.find(
      ({ result }) => result.status === 'failed' && result.error.code === 'model_unavailable',
    );
    if (unavailable?.result.status === 'failed') return this.#modelIsUnavailable(job, unavailable.result.error.detail);
    const mayRetry = !isLast && rows.some(({ isRetryable }) => isRetryable);
    if (mayRetry && this.#options.retries.trySpend()) return { state: 'queued', spendsAttempt: true };
    if (mayRetry) this.#options.onRetryRefused(job);

    const last = rows.reduce((latest, row) => (endOf(row) > endOf(latest) ? row : latest));
    const results = rows.map((row) => (mayRetry && row.isRetryable ? withoutRetry(row.result) : row.result));
    const error = job.request.on_row_error === 'fail' ? firstError(results) : undefined;
    return {
      state: error ? 'failed' : 'succeeded',
      results,
      ...(error ? { error } : {}),
      origin: served.origin,
      batch: {
        batch_size: last.batch.size,
        batches: rows.length === 1 ? 1 : new Set(rows.map(({ batch }) => batch)).size,
        worker: this.#options.worker,
      },
      timings: timingsOf(last),
      ...(error ? {} : { prediction: predictionOf(job, last, results) }),
    };
  }

  /** No fault of the job: it waits, and spends no attempt. */
  #modelIsUnavailable(job: ClaimedJob, reason: string): JobOutcome {
    if (job.queuedMs < this.#options.unavailableWaitMs) {
      return { state: 'queued', spendsAttempt: false, delayMs: UNAVAILABLE_DELAY_MS };
    }
    const detail = `The job waited ${Math.round(job.queuedMs / 1000)} s for its model. ${reason}`;
    return failedWhole(job, { code: 'model_unavailable', detail });
  }

  /** The queue is the model's, so a job may reach a worker that has other versions of it. */
  #versionIsElsewhere(job: ClaimedJob): JobOutcome {
    if (job.queuedMs < this.#options.versionWaitMs) return { state: 'queued', spendsAttempt: false };
    const waitedS = Math.round(job.queuedMs / 1000);
    const detail = `In ${waitedS} s no worker with version ${job.version} of "${job.model}" took this job.`;
    return failedWhole(job, { code: 'model_unavailable', detail });
  }
}

function holdMsOf({ request: { timeout_s: timeoutS = Number.POSITIVE_INFINITY } }: ClaimedJob): number {
  return Math.min(HOLD_MS, timeoutS * 1000 * HOLD_SHARE_OF_TIMEOUT);
}

function withoutRetry(result: RowResult): RowResult {
  if (result.status !== 'failed') return result;
  const detail = `${result.error.detail} It was not tried again: the model has used up its retries (ONQUEUE_RETRY_BUDGET_PERCENT).`;
  return { status: 'failed', error: { ...result.error, detail } };
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
