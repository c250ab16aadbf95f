import {
  assignVersion,
  type BacklogLimits,
  DEFAULT_TENANT,
  faultPoint,
  isTerminal,
  type JobRequest,
  type JobStore,
  jobRequest,
  jobUrls,
  newJobId,
  Problem,
  partitionOf,
  toJobView,
  toRunView,
} from '@onqueue/shared';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { BacklogMonitor } from '../backlog-monitor.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { rowFaults } from '../http/row-validation.ts';
import { invalidRequest, validate } from '../http/validation.ts';
import type { JobWaiter } from '../job-waiter.ts';
import type { MemoryGuard } from '../memory-guard.ts';
import type { ApiMetrics } from '../metrics.ts';
import type { ModelCatalog } from '../model-catalog.ts';
import type { WebhookPolicy } from '../webhook-policy.ts';

export interface JobRoutesOptions {
  store: JobStore;
  catalog: ModelCatalog;
  waiter: JobWaiter;
  backlogMonitor: BacklogMonitor;
  memory: MemoryGuard;
  metrics: ApiMetrics;
  readBody: RequestHandler[];
  partitions: number;
  backlogLimits: BacklogLimits;
  maxRowsPerJob: number;
  maxWaitS: number;
  checkWebhook: WebhookPolicy;
  publicUrl: string | undefined;
}

/** How soon a client that polls may ask again about a job that has not ended. */
const POLL_AGAIN_S = 1;

/** `POST /jobs`, `GET /jobs/:id`, and what can be done with a job. */
export function jobRoutes(options: JobRoutesOptions): Router {
  const router = Router();
  router
    .route('/jobs')
    .post(queryParameters(), ...options.readBody, (request, response) => createJob(options, request, response))
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

async function createJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const { catalog, store, metrics, partitions } = options;
  const body = validate(jobRequest, request.body, 'The job');
  options.checkWebhook(body.webhook);

  const versions = await catalog.versionsOf(body.model, body.version);
  const descriptor = assignVersion(
    body.model,
    versions.map((published) => published.descriptor),
    body.version,
  );
  const inputs = validateRows(body, options, catalog.rowSchemaOf({ descriptor }));

  options.memory.assertAdmits();
  const partition = partitionOf(descriptor.name, partitions);
  const id = newJobId({ createdAtMs: Date.now(), partition });
  const arrival = arrivalOf(response);
  faultPoint('enqueue.before');
  const outcome = await store.enqueue(
    {
      id,
      tenant: DEFAULT_TENANT,
      partition,
      model: descriptor.name,
      version: descriptor.version,
      lane: body.lane,
      inputs,
      request: {
        on_row_error: body.on_row_error,
        request_id: response.locals.requestId as string,
        ...arrival,
        ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
        ...(body.webhook === undefined ? {} : { webhook: body.webhook }),
        ...(body.timeout === undefined ? {} : { timeout_s: body.timeout }),
        ...(body.expires_in === undefined ? {} : { expires_in_s: body.expires_in }),
      },
    },
    options.backlogLimits,
  );
  faultPoint('enqueue.after');
  if (outcome.status === 'backlog_full') {
    throw backlogFull(options, descriptor.name, outcome);
  }
  const labels = { model: descriptor.name, version: descriptor.version, lane: body.lane };
  metrics.jobsAccepted.inc(labels);
  metrics.rowsAccepted.inc(labels, inputs.length);
  metrics.phaseDuration.observe({ model: descriptor.name, phase: 'network_in' }, arrival.network_in_ms / 1000);
  metrics.phaseDuration.observe({ model: descriptor.name, phase: 'validate' }, arrival.validate_ms / 1000);
  const urls = jobUrls(id, options.publicUrl);
  response.locals.jobId = id;
  response
    .status(202)
    .location(urls.self)
    .json({
      id,
      object: 'job',
      status: 'queued',
      model: descriptor.name,
      version: descriptor.version,
      lane: body.lane,
      created_at: new Date(outcome.createdAtMs).toISOString(),
      rows: { total: inputs.length },
      metadata: body.metadata ?? {},
      request_id: response.locals.requestId,
      urls,
    });
}

/** The phases before the queue, to the microsecond. */
function arrivalOf({ locals }: Response): { network_in_ms: number; validate_ms: number } {
  const { receivedAtMs, bodyReadAtMs } = locals as { receivedAtMs: number; bodyReadAtMs: number };
  const rounded = (ms: number) => Math.round(ms * 1000) / 1000;
  return {
    network_in_ms: rounded(bodyReadAtMs - receivedAtMs),
    validate_ms: rounded(performance.now() - bodyReadAtMs),
  };
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
  response.set('Cache-Control', 'no-store').json(toJobView(job, options.publicUrl));
}

/** Final at once. Canceling a job that is canceled already changes nothing, and is no error. */
async function cancelJob({ store, publicUrl }: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  await assertReadable(store, id);
  const outcome = await store.cancel(DEFAULT_TENANT, id);
  faultPoint('cancel.after');
  if (outcome.status === 'ended' && outcome.state !== 'canceled') {
    throw new Problem('job_ended', `The job is ${outcome.state} already.`);
  }
  const job = outcome.status === 'missing' ? null : await store.read(DEFAULT_TENANT, id);
  if (job === null) throw jobNotFound();
  response.locals.jobId = id;
  response.json(toJobView(job, publicUrl));
}

/** Opens the next run; the job keeps its id. */
async function retryJob(options: JobRoutesOptions, request: Request, response: Response): Promise<void> {
  const { store, publicUrl, backlogLimits, memory } = options;
  memory.assertAdmits();
  const id = String(request.params.id);
  await assertReadable(store, id);
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
  response.status(202).location(jobUrls(id, publicUrl).self).json(toJobView(job, publicUrl));
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
async function assertReadable(store: JobStore, id: string): Promise<void> {
  if ((await store.read(DEFAULT_TENANT, id)) === null) throw jobNotFound();
}

function jobNotFound(): Problem {
  return new Problem('job_not_found', 'There is no such job, or it is past its expires_at.');
}

function validateRows(
  body: JobRequest,
  { maxRowsPerJob }: JobRoutesOptions,
  schema: ReturnType<ModelCatalog['rowSchemaOf']>,
): Record<string, unknown>[] {
  const isSingle = body.input !== undefined;
  const rows = body.inputs ?? (body.input === undefined ? [] : [body.input]);
  if (rows.length > maxRowsPerJob) {
    throw new Problem(
      'too_many_rows',
      `The job has ${rows.length} rows; at most ${maxRowsPerJob} are allowed. Split it.`,
      {
        errors: [{ pointer: '/inputs', detail: `${rows.length} rows, at most ${maxRowsPerJob}` }],
      },
    );
  }
  const faults = rowFaults(rows, schema, (index) => (isSingle ? ['input'] : ['inputs', index]));
  if (faults.length > 0) throw invalidRequest(`A row of model "${body.model}"`, faults);
  return rows;
}

function backlogFull(
  { backlogMonitor, backlogLimits }: JobRoutesOptions,
  model: string,
  {
    dimension,
    backlog,
  }: { dimension: 'jobs' | 'rows' | 'bytes'; backlog: Parameters<BacklogMonitor['retryAfterS']>[2] },
): Problem {
  const cap = { jobs: backlogLimits.maxJobs, rows: backlogLimits.maxRows, bytes: backlogLimits.maxBytes }[dimension];
  const retryAfterS = backlogMonitor.retryAfterS(model, dimension, backlog, cap);
  return new Problem(
    'backlog_full',
    `Model "${model}" has ${backlog[dimension]} ${dimension} waiting; with this job they would pass the cap of ${cap}. Try again in ${retryAfterS} s.`,
    { retryAfterS },
  );
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

function abortOnClose(response: Response): AbortSignal {
  const controller = new AbortController();
  response.on('close', () => controller.abort());
  return controller.signal;
}
