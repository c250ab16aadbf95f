import {
  type ClaimedJob,
  type ClaimOutcome,
  type Clock,
  type Commit,
  type CommitOutcome,
  faultPoint,
  type JobOutcome,
  type JobRef,
  type JobStore,
  type Lane,
} from '@onqueue/shared';
import type { RedisConnection } from '@onqueue/shared/redis';
import { parseQueueJobId, queueName } from '@onqueue/shared/redis';
import {
  type BackendFactory,
  createRedisBackend,
  DelayedError,
  type Job,
  type RedisQueueBackend,
  Worker,
  type WorkerOptions,
} from 'bullmq';
import { z } from 'zod';
import { Coalescer } from './coalescer.ts';
import { type Attempt, afterFault, attemptsOf, feedLimitOf, type JobHandler, type JobSource } from './job-source.ts';
import { BULLMQ_VERSION, loadStockScripts } from './stock-scripts.ts';

export interface StockJobSourceOptions {
  model: string;
  lane: Lane;
  partition: number;
  bullPrefix: string;
  /** Must wait for Redis (`maxRetriesPerRequest: null`); BullMQ duplicates it for its blocking call. */
  redis: RedisConnection;
  store: Pick<JobStore, 'claim' | 'commit' | 'feed'>;
  clock: Clock;
  handler: JobHandler;
  /** Jobs in hand at once: enough to fill the batches that run and the next ones. */
  concurrency: number;
  lockDurationMs: number;
  stalledIntervalMs: number;
  /** Minutes of BullMQ's metrics that are kept; 0 keeps none. */
  queueMetricsMinutes: number;
  onFenced: (job: ClaimedJob) => void;
  onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void;
  onError: (error: Error) => void;
}

const queueJobData = z.object({ tenant: z.string() });

/** One script for many jobs; more than this would hold Redis up for the others. */
const MAX_JOBS_PER_SCRIPT = 64;

/** How soon a job that came to the wrong worker is offered again, to whoever asks first. */
const HAND_ON_DELAY_MS = 250;

/** How soon a job is tried again whose claim or commit broke for a reason of ours. */
const AFTER_FAULT_DELAY_MS = 1000;

/** How often the wait list is filled from the tenants' jobs, in case that no claim does: each one fills it as well. */
const FEED_MS = 1000;

/** Says to BullMQ that the attempt failed; our record says so already. */
class AttemptFailed extends Error {
  override readonly name = 'AttemptFailed';
}

/**
 * Jobs from BullMQ's stock Worker: it locks, renews, backs off and finds stalled jobs; our record is claimed and
 * committed beside it, coalesced over the jobs that come together. The commit goes first: a crash between the two makes
 * BullMQ hand out a job whose run is over, which the next claim sees and finishes silently.
 */
export class StockJobSource implements JobSource {
  readonly #options: StockJobSourceOptions;
  readonly #worker: Worker;
  readonly #claims: Coalescer<JobRef, ClaimOutcome>;
  readonly #commits: Coalescer<Commit, CommitOutcome>;
  #feedTimer: { cancel(): void } | undefined;
  #isDraining = false;

  constructor(options: StockJobSourceOptions) {
    const { model, lane, bullPrefix, redis, store, concurrency, lockDurationMs, stalledIntervalMs, onError } = options;
    this.#options = options;
    this.#claims = new Coalescer({ perform: (refs) => claimAll(store, refs), maxSize: MAX_JOBS_PER_SCRIPT });
    this.#commits = new Coalescer({ perform: (commits) => commitAll(store, commits), maxSize: MAX_JOBS_PER_SCRIPT });
    const hasOurScripts = loadStockScripts(redis);
    if (!hasOurScripts) onError(new Error(`bullmq ${BULLMQ_VERSION} is not the version that its scripts were read in`));
    const settings: WorkerOptions = {
      connection: redis,
      prefix: bullPrefix,
      autorun: false,
      concurrency,
      lockDuration: lockDurationMs,
      stalledInterval: stalledIntervalMs,
      // A stall says that a worker died, not that the job is to blame: it may be anybody's neighbour.
      maxStalledCount: 1_000_000,
      ...(options.queueMetricsMinutes > 0 ? { metrics: { maxDataPoints: options.queueMetricsMinutes } } : {}),
    };
    const processor = (job: Job) => this.#process(job);
    this.#worker = hasOurScripts
      ? new Worker(queueName(model, lane), processor, settings, createStockBackend)
      : new Worker(queueName(model, lane), processor, settings);
    this.#worker.on('error', onError);
    this.#worker.on('completed', () => faultPoint('finish.after'));
    this.#worker.on('failed', () => faultPoint('attempt.failed.after'));
  }

  start(): void {
    this.#worker.run().catch(this.#options.onError);
    void this.#feed();
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#feedTimer?.cancel();
    await this.#worker.close();
  }

  async #feed(): Promise<void> {
    const { store, model, lane, partition, clock, onError } = this.#options;
    try {
      await store.feed(partition, [{ model, lane, limit: feedLimitOf(this.#options) }]);
    } catch (error) {
      if (!this.#isDraining) onError(error as Error);
    }
    if (!this.#isDraining) this.#feedTimer = clock.setTimeout(() => void this.#feed(), FEED_MS);
  }

  /** BullMQ drops a job whose attempts are spent: an error of ours must not spend any, or an accepted job would be lost. */
  async #process(queueJob: Job): Promise<void> {
    try {
      await this.#run(queueJob);
    } catch (error) {
      if (error instanceof AttemptFailed || error instanceof DelayedError) throw error;
      this.#options.onError(error as Error);
      await queueJob.moveToDelayed(Date.now() + AFTER_FAULT_DELAY_MS, queueJob.token);
      throw new DelayedError();
    }
  }

  async #run(queueJob: Job): Promise<void> {
    const { partition, onFenced, onCommitted, onError } = this.#options;
    const data = queueJobData.safeParse(queueJob.data);
    // None of ours, or what a canceled job has left.
    if (!data.success) return;
    const { id, run } = parseQueueJobId(String(queueJob.id));
    const claim = await this.#claims.add({ id, run, tenant: data.data.tenant, partition });
    if (claim.status === 'over') return;
    const { job } = claim;
    // BullMQ decides by its own options whether another attempt follows.
    queueJob.opts.attempts = attemptsOf(job, queueJob.opts.attempts ?? 1);
    const attempt: Attempt = {
      isLast: queueJob.attemptsMade + 1 >= queueJob.opts.attempts,
      isSuspect: queueJob.attemptsMade + queueJob.stalledCounter > 0,
    };
    let outcome = await this.#outcomeOf(claim, attempt);
    let commit = await this.#commits.add({ job, outcome });
    if (commit.status === 'unwritable') {
      onError(commit.error);
      outcome = afterFault(job, attempt, commit.error);
      commit = await this.#commits.add({ job, outcome });
    }
    if (commit.status !== 'committed') {
      onFenced(job);
      return;
    }
    onCommitted(job, outcome);
    if (outcome.state !== 'queued') return;
    if (outcome.spendsAttempt) {
      faultPoint('attempt.failed.before');
      throw new AttemptFailed('the attempt failed; another one follows');
    }
    faultPoint('requeue.before');
    await queueJob.moveToDelayed(Date.now() + (outcome.delayMs ?? HAND_ON_DELAY_MS), queueJob.token);
    faultPoint('requeue.after');
    throw new DelayedError();
  }

  async #outcomeOf(claim: Claim, attempt: Attempt): Promise<JobOutcome> {
    if (claim.status === 'too_new') return { state: 'queued', spendsAttempt: false };
    try {
      if (claim.status === 'unreadable') throw claim.error;
      faultPoint('score.before');
      const outcome = await this.#options.handler(claim.job, attempt);
      faultPoint('score.after');
      return outcome;
    } catch (error) {
      this.#options.onError(error as Error);
      return afterFault(claim.job, attempt, error as Error);
    }
  }
}

/**
 * BullMQ's own backend, with two calls changed. A marker tells when the next delayed job is due, in Redis' time: BullMQ would
 * compare it with a clock of its own, and sleep through the delay when that is slow; it looks at once instead, and is told
 * in its own time. And a drain ends the blocking call by ending its connection: between two attempts to connect there is
 * nothing to end, ioredis never says that it has, and the drain would wait for good.
 */
const createStockBackend: BackendFactory<RedisQueueBackend> = (...args) => {
  const backend = createRedisBackend(...args);
  const waitForJob = backend.waitForJob.bind(backend);
  backend.waitForJob = async (blockTimeout) => {
    const marker = await waitForJob(blockTimeout);
    return marker && { ...marker, score: 0 };
  };
  const disconnectBlocking = backend.disconnectBlocking.bind(backend);
  backend.disconnectBlocking = async (wait) => {
    await backend.reconnectBlocking();
    await disconnectBlocking(wait);
  };
  return backend;
};

type Claim = Exclude<ClaimOutcome, { status: 'over' }>;

async function claimAll(store: Pick<JobStore, 'claim'>, refs: readonly JobRef[]): Promise<ClaimOutcome[]> {
  faultPoint('claim.before');
  const claims = await store.claim(refs);
  faultPoint('claim.after');
  return claims;
}

async function commitAll(store: Pick<JobStore, 'commit'>, commits: readonly Commit[]): Promise<CommitOutcome[]> {
  faultPoint('commit.before');
  const outcomes = await store.commit(commits);
  faultPoint('commit.after');
  return outcomes;
}
