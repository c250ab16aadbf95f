import { type JobRecord, type JobRemovals, type JobStore, Problem, parseJobId } from '@onqueue/shared';
import type { Request, Response } from 'express';
import { tenantOf } from '../auth/caller.ts';
import { abortOnClose } from '../http/abort-on-close.ts';
import { isoTime } from '../iso-time.ts';
import type { JobWaiter } from '../job-waiter.ts';

export interface FindJobOptions {
  store: JobStore;
  removals: JobRemovals;
  retentionMs: number;
}

/** @throws Problem job_not_found, job_gone, record_too_new */
export async function findJob(options: FindJobOptions, tenant: string, id: string): Promise<JobRecord> {
  return (await options.store.read(tenant, id)) ?? (await throwMissing(options, tenant, id));
}

/** The job, once it has ended when the request says `?wait=`; undefined when the client has gone meanwhile. @throws as findJob */
export async function awaitJob(
  options: FindJobOptions & { waiter: JobWaiter; maxWaitS: number },
  request: Request,
  response: Response,
): Promise<JobRecord | undefined> {
  const id = String(request.params.id);
  const tenant = tenantOf(response);
  const waitS = parseWait(request.query.wait, options.maxWaitS);
  const job =
    waitS > 0
      ? await options.waiter.wait(tenant, id, waitS * 1000, abortOnClose(response))
      : await options.store.read(tenant, id);
  if (response.destroyed) return undefined;
  if (job === null) return throwMissing(options, tenant, id);
  response.locals.jobId = id;
  return job;
}

/**
 * Says what became of a job without a record. An id that is older than the retention is answered alike whoever asks and
 * whether it ever named a job, and so tells nothing of others' jobs.
 */
export async function throwMissing(
  { removals, retentionMs }: Omit<FindJobOptions, 'store'>,
  tenant: string,
  id: string,
): Promise<never> {
  const createdAtMs = parseJobId(id)?.createdAtMs;
  if (createdAtMs === undefined || createdAtMs > MAX_TIME_MS) throw notFound();
  const removedAtMs = await removals.removedAtMs(tenant, id);
  const created_at = isoTime(createdAtMs);
  if (removedAtMs !== undefined) {
    const removed_at = isoTime(removedAtMs);
    throw new Problem('job_gone', `The job was deleted at ${removed_at}.`, { members: { created_at, removed_at } });
  }
  const forgottenAtMs = createdAtMs + retentionMs;
  if (forgottenAtMs >= Date.now()) throw notFound();
  const removed_after = isoTime(forgottenAtMs);
  throw new Problem(
    'job_gone',
    `A job of ${created_at} is kept until it has ended and ${retentionMs / 1000} s longer; this one is past that.`,
    { members: { created_at, removed_after } },
  );
}

function notFound(): Problem {
  return new Problem('job_not_found', 'There is no such job.');
}

/** The last time that a Date can hold; an id holds later ones. */
const MAX_TIME_MS = 8_640_000_000_000_000;

/** Seconds: `?wait=10`. Any number of digits: what is longer than allowed is cut, however long. */
function parseWait(value: unknown, maxWaitS: number): number {
  if (value === undefined) return 0;
  if (typeof value !== 'string' || !/^\d+$/.test(value)) {
    throw new Problem('invalid_request', '`wait` is a whole number of seconds, such as ?wait=10.', {
      errors: [{ pointer: '?wait', detail: 'a whole number of seconds' }],
    });
  }
  return Math.min(Number(value), maxWaitS);
}
