import { Problem } from '@onqueue/shared';
import type { Request, Response } from 'express';
import { actorOf, tenantOf } from '../auth/caller.ts';
import { type FindJobOptions, throwMissing } from './find-job.ts';

/** `DELETE /jobs/:id`: the data goes now; that there was a job is remembered for a while. A repeat is answered alike. */
export async function deleteJob(options: FindJobOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  const tenant = tenantOf(response);
  // The script asks no record which version wrote it; one that we cannot read we leave alone.
  await options.store.read(tenant, id);
  const outcome = await options.removals.remove(tenant, id, actorOf(response));
  if (outcome.status === 'missing') return throwMissing(options, tenant, id);
  if (outcome.status === 'active') {
    throw new Problem('job_not_finished', `The job is ${outcome.state}. Cancel it first, or wait for its end.`, {
      retryAfterS: 1,
    });
  }
  response.locals.jobId = id;
  response.json({ id, object: 'job', deleted: true, deleted_at: new Date(outcome.removedAtMs).toISOString() });
}
