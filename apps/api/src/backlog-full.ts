import { type BacklogLimits, type EnqueueOutcome, type NewJob, Problem } from '@onqueue/shared';
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
  limits: BacklogLimits = backlogLimits,
): Problem {
  if (refusal.status === 'lane_draining') {
    const detail = `An operator lets this lane of model "${model}" run empty. Try again later.`;
    return new Problem('lane_draining', detail, { retryAfterS: DRAINING_RETRY_S });
  }
  if (refusal.status === 'deadline_unmeetable') {
    const waitS = Math.max(1, Math.ceil(refusal.waitMs / 1000));
    const detail = `The job would expire before a worker could start it: what comes first takes ${waitS} s, at best.`;
    return new Problem('deadline_unmeetable', detail, { retryAfterS: waitS });
  }
  const { dimension, backlog } = refusal;
  const cap = { jobs: limits.maxJobs, rows: limits.maxRows, bytes: limits.maxBytes }[dimension];
  const retryAfterS = backlogMonitor.retryAfterS(model, dimension, backlog, cap);
  return new Problem(
    'backlog_full',
    `Model "${model}" has ${backlog[dimension]} ${dimension} waiting; with this job they would pass the cap of ${cap}. Try again in ${retryAfterS} s.`,
    { retryAfterS },
  );
}

/** The caps, and what drains within the longest wait that the model allows. A job that comes to an empty queue is never too much. */
export function limitsFor(
  { backlogMonitor, backlogLimits, maxQueueWaitS }: BacklogFullOptions & { maxQueueWaitS: number },
  { model, inputs, maxQueueWaitS: ofModel }: Pick<NewJob, 'model' | 'inputs' | 'maxQueueWaitS'>,
): BacklogLimits {
  const within = Math.max(inputs.length, backlogMonitor.rowsWithin(model, ofModel ?? maxQueueWaitS));
  return { ...backlogLimits, maxRows: Math.min(backlogLimits.maxRows, within) };
}
