import type { ClaimedJob, JobOutcome } from '@onqueue/shared';

/**
 * Computes a claimed job. `isLastAttempt`: a retryable failure must end the job now instead of queueing it again.
 * Never rejects for a fault of the job; a rejection is a bug, and the attempt is retried like a crash.
 */
export type JobHandler = (job: ClaimedJob, isLastAttempt: boolean) => Promise<JobOutcome>;

/**
 * Where jobs come from and how their ends are written: claiming, locking, committing and finishing are the source's
 * own affair, so that it can do them one by one or for many jobs in one script.
 */
export interface JobSource {
  start(): void;
  /** Claims nothing more, and resolves when everything that was claimed has been committed. */
  drain(): Promise<void>;
}
