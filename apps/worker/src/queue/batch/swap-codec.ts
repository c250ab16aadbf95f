import type { ClaimedJob, CommitOutcome, JobOutcome } from '@onqueue/shared';
import {
  type ClaimReply,
  commitArguments,
  parseQueueJobId,
  toClaimOutcome,
  toCommitOutcome,
} from '@onqueue/shared/redis';
import { type Attempt, afterFault, attemptsOf } from '../job-source.ts';
import { parseQueueJobOptions, type QueueJobOptions, retryDelayMs } from './queue-job-options.ts';

/** What scripts/swap.ts takes and gives, as objects. */

/** A job in the hands of this worker. */
export interface HeldJob {
  job: ClaimedJob;
  queueJobId: string;
  /** Of BullMQ's lock. */
  token: string;
  /** Attempts that failed. */
  attemptsMade: number;
  options: QueueJobOptions;
  attempt: Attempt;
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
  /** Claims that nobody scores, and how they end. */
  settled: { held: HeldJob; outcome: JobOutcome; error?: Error }[];
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
  const handOnMs = (!isOver && outcome.delayMs) || HAND_ON_DELAY_MS;
  const delayMs = spendsAttempt ? retryDelayMs(held.options, held.attemptsMade + 1) : handOnMs;
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

type JobReply = [
  queueJobId: string,
  tenant: string,
  attemptsMade: string,
  stalls: string,
  options: string,
  ...claim: ClaimReply,
];
type Reply = [codes: number[], jobs: JobReply[], more: number, limitedMs: number, delayedMs: number, faults: string[]];

export function parseSwapReply(reply: unknown, { partition, token }: { partition: number; token: string }): SwapReply {
  const [codes, jobs, more, limitedMs, delayedMs, faults] = reply as Reply;
  const parsed: SwapReply = {
    commits: codes.map(toCommitOutcome),
    claimed: [],
    settled: [],
    hasMore: more === 1,
    limitedMs,
    delayedMs: delayedMs < 0 ? undefined : delayedMs,
    faults,
  };
  for (const [queueJobId, tenant, failures, stalls, optionsText, ...reply] of jobs) {
    const claim = toClaimOutcome({ ...parseQueueJobId(queueJobId), tenant, partition }, reply);
    if (claim.status === 'over') continue;
    const attemptsMade = Number(failures);
    const options = parseQueueJobOptions(optionsText);
    const isLast = attemptsMade + 1 >= attemptsOf(claim.job, options.attempts);
    const attempt = { isLast, isSuspect: attemptsMade + Number(stalls) > 0 };
    const held: HeldJob = { job: claim.job, queueJobId, token, attemptsMade, options, attempt };
    if (claim.status === 'claimed') {
      parsed.claimed.push(held);
    } else if (claim.status === 'too_new') {
      parsed.settled.push({ held, outcome: { state: 'queued', spendsAttempt: false } });
    } else {
      const { error } = claim;
      parsed.settled.push({ held, outcome: afterFault(held.job, attempt, error), error });
    }
  }
  return parsed;
}
