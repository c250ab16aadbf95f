import type { ClaimedJob, CommitOutcome, JobOutcome } from '@onqueue/shared';
import {
  type ClaimReply,
  commitArguments,
  parseQueueJobId,
  toClaimOutcome,
  toCommitOutcome,
} from '@onqueue/shared/redis';
import { parseQueueJobOptions, type QueueJobOptions, retryDelayMs } from './queue-job-options.ts';

/** What scripts/swap.ts takes and gives, as objects. */

/** A job in the hands of this worker. */
export interface HeldJob {
  job: ClaimedJob;
  queueJobId: string;
  /** Of BullMQ's lock. */
  token: string;
  attemptsMade: number;
  options: QueueJobOptions;
}

export interface EndedJob {
  held: HeldJob;
  outcome: JobOutcome;
  /** Made when the job ends, not when the swap is sent: one that cannot be written as JSON must not hold up the others. */
  arguments: readonly (string | number)[];
}

export interface SwapReply {
  commits: CommitOutcome[];
  claimed: HeldJob[];
  /** Claims that this version cannot read, perhaps from a newer one. */
  unreadable: { held: HeldJob; error: Error }[];
  hasMore: boolean;
  /** For how long the queue's rate limit lets nobody claim. */
  limitedMs: number;
  /** Until the next delayed job is due; undefined: none is known of. */
  delayedMs: number | undefined;
  faults: string[];
}

/** How soon a job that came to the wrong worker is offered again, to whoever asks first. */
const HAND_ON_DELAY_MS = 250;

export function endedJob(held: HeldJob, outcome: JobOutcome): EndedJob {
  const isOver = outcome.state !== 'queued';
  const spendsAttempt = !isOver && outcome.spendsAttempt;
  const delayMs = spendsAttempt ? retryDelayMs(held.options, held.attemptsMade + 1) : HAND_ON_DELAY_MS;
  return {
    held,
    outcome,
    arguments: [
      ...commitArguments({ job: held.job, outcome }),
      held.token,
      isOver ? '' : delayMs,
      spendsAttempt ? '1' : '0',
    ],
  };
}

type JobReply = [queueJobId: string, tenant: string, attemptsMade: string, options: string, ...claim: ClaimReply];
type Reply = [codes: number[], jobs: JobReply[], more: number, limitedMs: number, delayedMs: number, faults: string[]];

export function parseSwapReply(reply: unknown, { partition, token }: { partition: number; token: string }): SwapReply {
  const [codes, jobs, more, limitedMs, delayedMs, faults] = reply as Reply;
  const parsed: SwapReply = {
    commits: codes.map(toCommitOutcome),
    claimed: [],
    unreadable: [],
    hasMore: more === 1,
    limitedMs,
    delayedMs: delayedMs < 0 ? undefined : delayedMs,
    faults,
  };
  for (const [queueJobId, tenant, attemptsMade, options, ...claim] of jobs) {
    const ref = { ...parseQueueJobId(queueJobId), tenant, partition };
    const held = { queueJobId, token, attemptsMade: Number(attemptsMade), options: parseQueueJobOptions(options) };
    try {
      const outcome = toClaimOutcome(ref, claim);
      if (outcome.status === 'claimed') parsed.claimed.push({ ...held, job: outcome.job });
    } catch (error) {
      parsed.unreadable.push({ held: { ...held, job: fenceOf(ref, claim) }, error: error as Error });
    }
  }
  return parsed;
}

/** As much of a job as it takes to give it back. */
function fenceOf(
  ref: ReturnType<typeof parseQueueJobId> & { tenant: string; partition: number },
  claim: ClaimReply,
): ClaimedJob {
  const [attempt = 0, , , model = '', version = ''] = claim;
  return {
    ...ref,
    attempt,
    model,
    version,
    lane: 'interactive',
    inputs: [],
    request: { on_row_error: 'fail', request_id: '', metadata: {} },
    queuedMs: 0,
  };
}
