import {
  type ClaimedJob,
  isFaultOfModel,
  type JobOutcome,
  type Origin,
  type RowErrorCode,
  type RowResult,
  SERVICE_CLASSES,
} from '@onqueue/shared';
import type { BatchedRowOutcome, SubmitOptions } from './batching/dynamic-batcher.ts';
import type { HaltSignal } from './batching/halt-signal.ts';
import type { ReportProgress } from './progress-reporter.ts';
import { type Attempt, afterFault, failedWhole } from './queue/job-source.ts';
import type { CircuitBreaker } from './resilience/circuit-breaker.ts';
import type { FallbackChain } from './resilience/fallback-chain.ts';
import type { ResultMemory } from './resilience/result-memory.ts';
import type { RetryBudget } from './resilience/retry-budget.ts';
import { scoredJob } from './scored-job.ts';

/** A version that this worker can compute, and what its results say about their origin. */
export interface ServedVersion {
  submit(rows: readonly unknown[], options: SubmitOptions): Promise<BatchedRowOutcome[]>;
  origin: Origin;
  circuit: Pick<CircuitBreaker, 'state' | 'whenAdmitting'>;
  fallbacks: Pick<FallbackChain, 'isEmpty' | 'isLastWord' | 'answer'>;
  memory: Pick<ResultMemory, 'isReusing' | 'keyOf' | 'remember'>;
}

export interface JobScorerOptions {
  /** The versions of one model that are in memory, by version. */
  versions: Pick<ReadonlyMap<string, ServedVersion>, 'get'>;
  /** Loads a version that is loaded on demand; undefined when it is not here, or did not become ready in time. */
  summon?: (version: string, halt: HaltSignal) => Promise<ServedVersion | undefined>;
  /** Whether no worker takes jobs of the version any more. */
  isGone?: (version: string) => Promise<boolean>;
  worker: string;
  /** How long a job may wait for a worker that has its version, from when it was queued. */
  versionWaitMs: number;
  /** How long it may wait for a version that fails, from when it was queued. */
  unavailableWaitMs: number;
  /** What clients may read of a text that was written for operators. */
  toClients?: (text: string) => string;
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
  async score(job: ClaimedJob, attempt: Attempt, halt: HaltSignal, onProgress?: ReportProgress): Promise<JobOutcome> {
    try {
      return await this.#score(job, attempt, { halt, onProgress });
    } catch (cause) {
      this.#options.onBug(cause, job);
      return afterFault(job, attempt, new Error('Something broke on our side. Tell us the request_id.'));
    }
  }

  async #score(
    job: ClaimedJob,
    { isLast, isSuspect }: Attempt,
    { halt, onProgress }: { halt: HaltSignal; onProgress: ReportProgress | undefined },
  ): Promise<JobOutcome> {
    const { versions, summon } = this.#options;
    const served = versions.get(job.version) ?? (await summon?.(job.version, halt));
    if (halt.isHalted) return { state: 'queued', spendsAttempt: false };
    if (!served) return this.#versionIsElsewhere(job);
    if (served.circuit.state === 'open') {
      const outcome = await this.#fallBack(job, served, { rows: [], halt, isApart: isSuspect });
      if (outcome) return outcome;
    }
    if (served.circuit.state !== 'closed' && !(await served.circuit.whenAdmitting(halt, holdMsOf(job)))) {
      return this.#modelIsUnavailable(job);
    }
    if (!isSuspect) this.#options.retries.countFirstAttempt();
    const { service } = job.request;
    const isUrgent = service !== undefined && SERVICE_CLASSES[service.class].isUrgent;
    const rows = await submitOnce(job, served, { lane: job.lane, halt, isApart: isSuspect, isUrgent, onProgress });
    // Its run has ended elsewhere: whatever comes of it here, the fence refuses.
    if (halt.isHalted) return { state: 'queued', spendsAttempt: false };
    if (rows.some(({ result }) => isFailed(result, 'model_unavailable'))) {
      return (
        (await this.#fallBack(job, served, { rows, halt, isApart: isSuspect })) ?? this.#modelIsUnavailable(job, rows)
      );
    }
    const mayRetry = !isLast && rows.some(({ isRetryable }) => isRetryable);
    if (mayRetry && this.#options.retries.trySpend()) return { state: 'queued', spendsAttempt: true };
    if (mayRetry) this.#options.onRetryRefused(job);
    const results = rows.map((row) => (mayRetry && row.isRetryable ? withoutRetry(row.result) : row.result));
    return this.#end(job, served, { results, rows, halt });
  }

  async #end(
    job: ClaimedJob,
    { fallbacks, memory, origin }: ServedVersion,
    { results, rows, halt }: { results: readonly RowResult[]; rows: readonly BatchedRowOutcome[]; halt: HaltSignal },
  ): Promise<JobOutcome> {
    const { worker } = this.#options;
    const computed = { origin, rows };
    await memory.remember(job, rows);
    if (fallbacks.isEmpty) return scoredJob(job, results, { computed, worker });
    const guilty = numbersOf(results, (result) => result.status === 'failed' && isFaultOfModel(result.error.code));
    if (guilty.length === 0) return scoredJob(job, results, { computed, worker });
    // Rows that may kill a runner meet nobody else's.
    const answers = await fallbacks.answer(job, guilty, { lane: job.lane, halt, isApart: true });
    const mended = results.map((result, row) => answers.results.get(row) ?? result);
    const isAllFallback = answers.results.size === results.length;
    return scoredJob(job, mended, { computed: isAllFallback ? answers.computed : computed, worker });
  }

  /**
   * The end of a job whose model cannot be asked, by the fallbacks: undefined when they have not all the answers, and it is to
   * wait. `rows` is what the model said of it before, if anything.
   */
  async #fallBack(
    job: ClaimedJob,
    { fallbacks, origin }: ServedVersion,
    { rows, ...options }: { rows: readonly BatchedRowOutcome[]; halt: HaltSignal; isApart: boolean },
  ): Promise<JobOutcome | undefined> {
    if (fallbacks.isEmpty) return undefined;
    const error = { code: 'model_unavailable', detail: 'The model cannot be used now, and no fallback has an answer.' };
    const results = job.inputs.map((_, row): RowResult => rows[row]?.result ?? { status: 'failed', error });
    const guilty = numbersOf(results, (result) => result.status === 'failed' && isFaultOfModel(result.error.code));
    const answers = await fallbacks.answer(job, guilty, { lane: job.lane, ...options });
    if (options.halt.isHalted) return { state: 'queued', spendsAttempt: false };
    if (answers.results.size < guilty.length && !fallbacks.isLastWord) return undefined;
    const mended = results.map((result, row) => answers.results.get(row) ?? result);
    const computed = guilty.length < results.length ? { origin, rows } : answers.computed;
    return scoredJob(job, mended, { computed, worker: this.#options.worker });
  }

  /** No fault of the job: it waits, and spends no attempt. */
  #modelIsUnavailable(job: ClaimedJob, rows: readonly BatchedRowOutcome[] = []): JobOutcome {
    if (job.queuedMs < this.#options.unavailableWaitMs) {
      return { state: 'queued', spendsAttempt: false, delayMs: UNAVAILABLE_DELAY_MS };
    }
    const { result } = rows.find((row) => isFailed(row.result, 'model_unavailable')) ?? {};
    const { toClients = (text: string) => text } = this.#options;
    const reason = result?.status === 'failed' ? toClients(result.error.detail) : 'It has failed too often of late.';
    const detail = `The job waited ${Math.round(job.queuedMs / 1000)} s for its model. ${reason}`;
    return failedWhole(job, { code: 'model_unavailable', detail });
  }

  /** The queue is the model's, so a job may reach a worker that has other versions of it. */
  async #versionIsElsewhere(job: ClaimedJob): Promise<JobOutcome> {
    if (await this.#options.isGone?.(job.version)) {
      const detail = `Version ${job.version} of "${job.model}" was unloaded or removed, and this job came after it was drained.`;
      return failedWhole(job, { code: 'version_gone', detail });
    }
    if (job.queuedMs < this.#options.versionWaitMs) return { state: 'queued', spendsAttempt: false };
    const waitedS = Math.round(job.queuedMs / 1000);
    const detail = `In ${waitedS} s no worker with version ${job.version} of "${job.model}" took this job.`;
    return failedWhole(job, { code: 'model_unavailable', detail });
  }
}

/** Equal rows of a job are one where answers are reused. */
async function submitOnce(
  { tenant, inputs }: ClaimedJob,
  { memory, submit }: ServedVersion,
  options: SubmitOptions,
): Promise<BatchedRowOutcome[]> {
  if (!memory.isReusing || inputs.length === 1) return submit(inputs, options);
  const places = new Map<string, number>();
  const distinct: unknown[] = [];
  const placeOf = inputs.map((row) => {
    const key = memory.keyOf(tenant, row);
    const place = places.get(key) ?? distinct.push(row) - 1;
    places.set(key, place);
    return place;
  });
  const outcomes = await submit(distinct, options);
  return placeOf.flatMap((place) => outcomes[place] ?? []);
}

function holdMsOf({ request: { timeout_s: timeoutS = Number.POSITIVE_INFINITY } }: ClaimedJob): number {
  return Math.min(HOLD_MS, timeoutS * 1000 * HOLD_SHARE_OF_TIMEOUT);
}

function isFailed(result: RowResult, code: RowErrorCode): boolean {
  return result.status === 'failed' && result.error.code === code;
}

function numbersOf(results: readonly RowResult[], isMeant: (result: RowResult) => boolean): number[] {
  return results.flatMap((result, row) => (isMeant(result) ? [row] : []));
}

function withoutRetry(result: RowResult): RowResult {
  if (result.status !== 'failed') return result;
  const detail = `${result.error.detail} It was not tried again: the model has used up its retries (ONQUEUE_RETRY_BUDGET_PERCENT).`;
  return { status: 'failed', error: { ...result.error, detail } };
}
