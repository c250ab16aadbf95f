import { faultPoint, Problem, toRunView } from '@onqueue/shared';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { tenantOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { showJob } from '../shown-job.ts';
import { type CreateJobOptions, createJob } from './create-job.ts';
import { deleteJob } from './delete-job.ts';
import { findJob, throwMissing } from './find-job.ts';
import { type JobEventsOptions, jobEventsRoute } from './job-events.ts';
import { type JobResultOptions, readJobResult } from './job-result.ts';
import { type ListJobsOptions, listJobs } from './list-jobs.ts';
import { type ReadJobOptions, readJob } from './read-job.ts';
import { type RetryJobsOptions, retryJob, retryJobs } from './retry-jobs.ts';

export interface JobRoutesOptions
  extends CreateJobOptions,
    ReadJobOptions,
    JobResultOptions,
    ListJobsOptions,
    JobEventsOptions,
    RetryJobsOptions {
  readBody: RequestHandler[];
}

/** `POST /jobs`, `GET /jobs`, and what can be read of a job and done with it. */
export function jobRoutes(options: JobRoutesOptions): Router {
  const router = Router();
  router
    .route('/jobs')
    .post(queryParameters('dry_run'), ...options.readBody, (request, response) => createJob(options, request, response))
    .get((request, response) => listJobs(options, request, response))
    .all(otherMethods('GET', 'POST'));
  router
    .route('/jobs/retry')
    .post(queryParameters(), ...options.readBody, (request, response) => retryJobs(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id')
    .get(queryParameters('wait'), (request, response) => readJob(options, request, response))
    .delete(queryParameters(), (request, response) => deleteJob(options, request, response))
    .all(otherMethods('GET', 'DELETE'));
  router
    .route('/jobs/:id/result')
    .get(queryParameters('wait'), (request, response) => readJobResult(options, request, response))
    .all(otherMethods('GET'));
  router
    .route('/jobs/:id/events')
    .get(queryParameters('starting_after'), jobEventsRoute(options))
    .all(otherMethods('GET'));
  router
    .route('/jobs/:id/cancel')
    .post(queryParameters(), (request, response) => cancelJob(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id/retry')
    .post(queryParameters('rows'), (request, response) => retryJob(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id/runs')
    .get(queryParameters(), (request, response) => listRuns(options, request, response))
    .all(otherMethods('GET'));
  return router;
}

/** Final at once. Canceling a job that is canceled already changes nothing, and is no error. */
async function cancelJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const { store, deliveries, publicUrl } = options;
  const id = String(request.params.id);
  const tenant = tenantOf(response);
  // The scripts ask no record which version wrote it; one that we cannot read we leave alone.
  await findJob(options, tenant, id);
  const outcome = await store.cancel(tenant, id);
  faultPoint('cancel.after');
  if (outcome.status === 'ended' && outcome.state !== 'canceled') {
    throw new Problem('job_ended', `The job is ${outcome.state} already.`);
  }
  const job = outcome.status === 'missing' ? null : await store.read(tenant, id);
  if (job === null) return throwMissing(options, tenant, id);
  response.locals.jobId = id;
  response.json(await showJob(deliveries, job, publicUrl));
}

/** Every run of the job, the latest one first. */
async function listRuns(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  const tenant = tenantOf(response);
  const job = await findJob(options, tenant, id);
  const earlier = await options.store.runs(tenant, id);
  const data = [job, ...earlier.toReversed()].map((run) => toRunView(run, job));
  response.json({ object: 'list', data });
}
