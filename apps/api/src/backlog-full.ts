import { type Backlog, type BacklogLimits, Problem } from '@onqueue/shared';
import type { BacklogMonitor } from './backlog-monitor.ts';

export interface BacklogFullOptions {
  backlogMonitor: BacklogMonitor;
  backlogLimits: BacklogLimits;
}

/** A job that would pass a cap, and when there may be room again. */
export function backlogFull(
  { backlogMonitor, backlogLimits }: BacklogFullOptions,
  model: string,
  { dimension, backlog }: { dimension: 'jobs' | 'rows' | 'bytes'; backlog: Backlog },
): Problem {
  const cap = { jobs: backlogLimits.maxJobs, rows: backlogLimits.maxRows, bytes: backlogLimits.maxBytes }[dimension];
  const retryAfterS = backlogMonitor.retryAfterS(model, dimension, backlog, cap);
  return new Problem(
    'backlog_full',
    `Model "${model}" has ${backlog[dimension]} ${dimension} waiting; with this job they would pass the cap of ${cap}. Try again in ${retryAfterS} s.`,
    { retryAfterS },
  );
}
