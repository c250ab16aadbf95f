import {
  DEFAULT_TENANT,
  faultPoint,
  isTerminal,
  type JobRecord,
  type JobStore,
  jobUrls,
  Problem,
  toRunView,
} from '@onqueue/shared';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { assertAvailable } from '../availability.ts';
import { backlogFull } from '../backlog-full.ts';
import { abortOnClose } from '../http/abort-on-close.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { showJob } from '../shown-job.ts';
import { type CreateJobOptions, createJob } from './create-job.ts';

export interface JobRoutesOptions extends CreateJobOptions {
  readBody: RequestHandler[];
}

/** How soon a client that polls may ask again about a job that has not ended. */
const POLL_AGAIN_S = 1;

/** `POST /jobs`, `GET /jobs/:id`, and what can be done with a job. */
export function jobRoutes(options: JobRoutesOptions): Router {
  const router = Router();
  router
    .route('/jobs')
    .post(queryParameters('dry_run'), ...options.readBody, (request, response) => createJob(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id')
    .get(queryParameters('wait'), (request, response) => readJob(options, request, response))
    .all(otherMethods('GET'));
  router
    .route('/jobs/:id/cancel')
    .post(queryParameters(), (request, response) => cancelJob(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id/retry')
    .post(queryParameters(), (request, response) => retryJob(options, request, response))
    .all(otherMethods('POST'));
  router
    .route('/jobs/:id/runs')
    .get(queryParameters(), (request, response) => listRuns(options, request, response))
    .all(otherMethods('GET'));
  return router;
}

async function readJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  const waitS = parseWait(request.query.wait, options.maxWaitS);
  const job =
    waitS > 0
      ? await options.waiter.wait(DEFAULT_TENANT, id, waitS * 1000, abortOnClose(response))
      : await options.store.read(DEFAULT_TENANT, id);
  if (response.destroyed) return;
  if (job === null) throw jobNotFound();
  response.locals.jobId = id;
  if (!isTerminal(job.state)) response.set('Retry-After', String(POLL_AGAIN_S));
  response.set('Cache-Control', 'no-store').json(await showJob(options.deliveries, job, options.publicUrl));
}

/** Final at once. Canceling a job that is canceled already changes nothing, and is no error. */
async function cancelJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const { store, deliveries, publicUrl } = options;
  const id = String(request.params.id);
  await readJobOf(store, id);
  const outcome = await store.cancel(DEFAULT_TENANT, id);
  faultPoint('cancel.after');
  if (outcome.status === 'ended' && outcome.state !== 'canceled') {
    throw new Problem('job_ended', `The job is ${outcome.state} already.`);
  }
  const job = outcome.status === 'missing' ? null : await store.read(DEFAULT_TENANT, id);
  if (job === null) throw jobNotFound();
  response.locals.jobId = id;
  response.json(await showJob(deliveries, job, publicUrl));
}

/** Opens the next run; the job keeps its id. */
async function retryJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const { store, catalog, publicUrl, backlogLimits, memory } = options;
  memory.assertAdmits();
  const id = String(request.params.id);
  const before = await readJobOf(store, id);
  const versions = await catalog.versionsOf(before.model, before.version);
  assertAvailable(before.model, before.version, versions);
  if (!versions.some(({ descriptor }) => descriptor.version === before.version)) {
    await catalog.assertNotGone(before.model, before.version);
  }
  const outcome = await store.retry(DEFAULT_TENANT, id, backlogLimits);
  faultPoint('retry.after');
  if (outcome.status === 'not_retryable') {
    throw new Problem(
      'job_not_retryable',
      `The job is ${outcome.state}; only failed, expired and canceled ones run again.`,
    );
  }
  const job = outcome.status === 'missing' ? null : await store.read(DEFAULT_TENANT, id);
  if (job === null) throw jobNotFound();
  if (outcome.status === 'backlog_full') throw backlogFull(options, job.model, outcome);
  response.locals.jobId = id;
  response.status(202).location(jobUrls(id, publicUrl).self);
  response.json(await showJob(options.deliveries, job, publicUrl));
}

/** Every run of the job, the latest one first. */
async function listRuns({ store }: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  const job = await store.read(DEFAULT_TENANT, id);
  if (job === null) throw jobNotFound();
  const earlier = await store.runs(DEFAULT_TENANT, id);
  const data = [job, ...earlier.toReversed()].map((run) => toRunView(run, job));
  response.json({ object: 'list', data });
}

/**
 * The scripts change a record without asking which version wrote it; one that we cannot read we leave alone.
 * @throws Problem record_too_new, job_not_found
 */
async function readJobOf(store: JobStore, id: string): Promise<JobRecord> {
  const job = await store.read(DEFAULT_TENANT, id);
  if (job === null) throw jobNotFound();
  return job;
}

function jobNotFound(): Problem {
  return new Problem('job_not_found', 'There is no such job, or it is past its expires_at.');
}

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
