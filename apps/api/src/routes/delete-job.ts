import { DEFAULT_TENANT, Problem } from '@onqueue/shared';
import type { Request, Response } from 'express';
import { type FindJobOptions, throwMissing } from './find-job.ts';

/** `DELETE /jobs/:id`: the data goes now; that there was a job is remembered for a while. A repeat is answered alike. */
export async function deleteJob(options: FindJobOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  // The script asks no record which version wrote it; one that we cannot read we leave alone.
  await options.store.read(DEFAULT_TENANT, id);
  const outcome = await options.removals.remove(DEFAULT_TENANT, id, response.locals.requestId as string);
  if (outcome.status === 'missing') return throwMissing(options, id);
  if (outcome.status === 'active') {
    throw new Problem('job_not_finished', `The job is ${outcome.state}. Cancel it first, or wait for its end.`, {
      retryAfterS: 1,
    });
  }
  response.locals.jobId = id;
  response.json({ id, object: 'job', deleted: true, deleted_at: new Date(outcome.removedAtMs).toISOString() });
}
