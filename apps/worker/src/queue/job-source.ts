import { type ClaimedJob, type JobError, type JobErrorCode, type JobOutcome, type Lane, rowsOf } from '@onqueue/shared';

/** What the queue knows of an attempt. */
export interface Attempt {
  /** A retryable failure must end the job now instead of queueing it again. */
  isLast: boolean;
  /**
   * A worker died with the job in hand, or an attempt failed: it may be to blame, and is computed apart from other jobs. It
   * has done nothing wrong by that: what counts against it is only what it does alone.
   */
  isSuspect: boolean;
}

/**
 * Computes a claimed job. Never rejects for a fault of the job; a rejection is a bug, and the attempt is retried like a
 * crash.
 */
export type JobHandler = (job: ClaimedJob, attempt: Attempt) => Promise<JobOutcome>;

/**
 * Where jobs come from and how their ends are written: claiming, locking, committing and finishing are the source's
 * own affair, so that it can do them one by one or for many jobs in one script.
 */
export interface JobSource {
  start(): void;
  /** Claims nothing more, and resolves when everything that was claimed has been committed. */
  drain(): Promise<void>;
}

/** A source of the queues of one partition, which may become more or fewer while it serves. */
export interface PartitionSource extends JobSource {
  /** Claims from these too, which it did not before; also before it is started. */
  add(queues: readonly ServedQueue[]): void;
  /** Claims nothing more of a model, and resolves when all that was claimed of it has been committed. */
  remove(model: string): Promise<void>;
}

/** A queue that a source serves. */
export interface ServedQueue {
  model: string;
  lane: Lane;
  handler: JobHandler;
  /** Jobs in hand at once: enough to fill the batches that run and the next ones. */
  concurrency: number;
  /** With so many rows in hand no more jobs are claimed, unless they are fewer than `minJobs`. */
  rows?: { max: number; minJobs: number };
}

/**
 * Jobs in a queue's wait list beside those in hand: half as many, which is the next batch of every runner. More would stand
 * before the jobs of a tenant that comes now; fewer would let a worker wait that takes jobs one by one.
 */
export function feedLimitOf({ concurrency }: { concurrency: number }): number {
  return Math.max(1, concurrency >> 1);
}

/** Attempts that a run may have: as the job asked, else as its queue job says. */
export function attemptsOf({ request }: ClaimedJob, configured: number): number {
  return request.retries === undefined ? configured : request.retries + 1;
}

/** A bug, ours or another version's: tried again like a crash, and ended at the last attempt, since every run must end. */
export function afterFault(job: ClaimedJob, { isLast }: Attempt, { message }: Error): JobOutcome {
  if (!isLast) return { state: 'queued', spendsAttempt: true };
  const code: JobErrorCode = 'internal_error';
  return failedWhole(job, { code, detail: `The worker failed: ${message}` });
}

/** The end of a job of which no row has an answer, all for the same reason. */
export function failedWhole(job: ClaimedJob, error: JobError): JobOutcome {
  return { state: 'failed', results: Array.from({ length: rowsOf(job) }, () => ({ status: 'failed', error })), error };
}
