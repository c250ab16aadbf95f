import { type BacklogLimits, type EnqueueOutcome, Problem } from '@onqueue/shared';
import type { BacklogMonitor } from './backlog-monitor.ts';

/** When a lane is opened again nobody knows but its operator. */
const DRAINING_RETRY_S = 30;

export interface BacklogFullOptions {
  backlogMonitor: BacklogMonitor;
  backlogLimits: BacklogLimits;
}

/** A job that would pass a cap, and when there may be room again; or one for a lane that runs empty. */
export function backlogFull(
  { backlogMonitor, backlogLimits }: BacklogFullOptions,
  model: string,
  refusal: Exclude<EnqueueOutcome, { status: 'accepted' }>,
): Problem {
  if (refusal.status === 'lane_draining') {
    const detail = `An operator lets this lane of model "${model}" run empty. Try again later.`;
    return new Problem('lane_draining', detail, { retryAfterS: DRAINING_RETRY_S });
  }
  const { dimension, backlog } = refusal;
  const cap = { jobs: backlogLimits.maxJobs, rows: backlogLimits.maxRows, bytes: backlogLimits.maxBytes }[dimension];
  const retryAfterS = backlogMonitor.retryAfterS(model, dimension, backlog, cap);
  return new Problem(
    'backlog_full',
    `Model "${model}" has ${backlog[dimension]} ${dimension} waiting; with this job they would pass the cap of ${cap}. Try again in ${retryAfterS} s.`,
    { retryAfterS },
  );
}
