import {
  assignVersion,
  canonicalSha256,
  type EnqueueOutcome,
  faultPoint,
  isTerminal,
  type JobRecord,
  type JobRequest,
  type JobReservations,
  jobRequest,
  jobUrls,
  type ModelDescriptor,
  type NewJob,
  newJobId,
  Problem,
  type PublishedModel,
  partitionOf,
  type RateLimits,
  serviceOf,
} from '@onqueue/shared';
import type { Request, Response } from 'express';
import type { z } from 'zod';
import { tenantOf } from '../auth/caller.ts';
import type { TenantDirectory } from '../auth/tenant-directory.ts';
import { assertAvailable } from '../availability.ts';
import { type BacklogFullOptions, backlogFull, limitsFor } from '../backlog-full.ts';
import { charge } from '../charge.ts';
import { abortOnClose } from '../http/abort-on-close.ts';
import { type CacheWish, parseCacheControl } from '../http/cache-control.ts';
import { cancelAfterS } from '../http/cancel-after.ts';
import { flagParameter } from '../http/flag-parameter.ts';
import { idempotencyKey } from '../http/idempotency-key.ts';
import { parsePrefer } from '../http/prefer.ts';
import { traceOf } from '../http/request-trace.ts';
import { rowFaults } from '../http/row-validation.ts';
import { invalidRequest, validate } from '../http/validation.ts';
import type { JobInputReader, JobInputs } from '../job-inputs.ts';
import type { JobWaiter } from '../job-waiter.ts';
import type { MemoryGuard } from '../memory-guard.ts';
import type { ApiMetrics } from '../metrics.ts';
import type { ModelCatalog } from '../model-catalog.ts';
import type { jobPlan } from '../openapi/replies.ts';
import { type RequestLimits, requestRecordOf } from '../request-record.ts';
import { reuseOrder } from '../reuse-order.ts';
import { type DeliveryStatuses, showJob } from '../shown-job.ts';
import type { WebhookPolicy } from '../webhook-policy.ts';
import { type FindJobOptions, throwMissing } from './find-job.ts';

export interface CreateJobOptions extends BacklogFullOptions, FindJobOptions {
  reservations: JobReservations;
  tenants: Pick<TenantDirectory, 'read'>;
  catalog: ModelCatalog;
  waiter: JobWaiter;
  memory: MemoryGuard;
  metrics: ApiMetrics;
  partitions: number;
  inputs: JobInputReader;
  maxWaitS: number;
  requestLimits: RequestLimits;
  checkWebhook: WebhookPolicy;
  deliveries: DeliveryStatuses;
  publicUrl: string | undefined;
  /** How long others wait for a row that is being computed. */
  flightLeaseMs: number;
  maxQueueWaitS: number;
  rateLimits: RateLimits;
}

/**
 * `POST /jobs`: validate, reserve the id when an idempotency key names the job, store and queue it, and wait for its end if
 * the client prefers that. With a key, whatever breaks on the way is mended by sending the request again.
 */
export async function createJob(options: CreateJobOptions, request: Request, response: Response): Promise<void> {
  const body = validate(jobRequest, request.body, 'The job');
  const key = idempotencyKey(request);
  const wait = { waitS: requestedWaitS(request, options), signal: abortOnClose(response) };
  const context: RequestContext = {
    cancelAfterS: cancelAfterS(request),
    cacheWish: parseCacheControl(request.get('cache-control')),
    response,
  };
  if (flagParameter(request, 'dry_run')) {
    response.json(planOf(await prepareJob(options, body, context)));
    return;
  }

  const bodySha256 = key === undefined ? '' : canonicalSha256(request.body);
  const made = key === undefined ? undefined : await findMade(options, tenantOf(response), key, bodySha256);
  if (made) {
    await answer(options, response, await waitFor(options, made, wait));
    return;
  }
  const job = await prepareJob(options, body, context);
  // Before the key is reserved: one that was refused has paid for nothing, and must not pass when it comes again.
  const refund = await chargeFor(options, job, response);
  const make = async () => {
    const isReplayed = key !== undefined && (await reserve(options, { key, bodySha256, job }));
    return { ...(await submit(options, job, wait)), isReplayed };
  };
  const { isNew, ...submitted } = await make().catch(async (error: unknown) => {
    await refund();
    throw error;
  });
  // Of several requests with one new key, that which made the job has paid.
  if (!isNew) await refund();
  await answer(options, response, submitted);
}

/** @throws Problem rate_limited, quota_exceeded */
async function chargeFor({ rateLimits, tenants }: CreateJobOptions, { tenant, inputs }: NewJob, response: Response) {
  const { quotas } = await tenants.read(tenant);
  return charge(rateLimits, response, quotas, inputs.length);
}

/** The job as its answer shows it. */
interface Submitted {
  job: Pick<NewJob, 'id' | 'model' | 'version' | 'lane' | 'request'> & { rows: number };
  createdAtMs: number;
  /** Undefined when nobody waited. */
  waitedS: number | undefined;
  /** The job as it ended, if that was within the wait. */
  ended: JobRecord | undefined;
  isReplayed: boolean;
}

/** What comes beside the body. */
interface RequestContext {
  cancelAfterS: number | undefined;
  cacheWish: CacheWish;
  response: Response;
}

interface Wait {
  waitS: number;
  signal: AbortSignal;
}

async function answer(options: CreateJobOptions, response: Response, submitted: Submitted): Promise<void> {
  const { deliveries, publicUrl } = options;
  const { job, createdAtMs, waitedS, ended, isReplayed } = submitted;
  const urls = jobUrls(job.id, publicUrl);
  response.locals.jobId = job.id;
  response.location(urls.self);
  if (waitedS !== undefined) response.set('Preference-Applied', `wait=${waitedS}`);
  if (isReplayed) response.set('Idempotency-Replayed', 'true');
  if (ended) {
    response.set('Cache-Control', 'no-store').json(await showJob(deliveries, ended, publicUrl));
    return;
  }
  response.status(202).json({
    id: job.id,
    object: 'job',
    status: 'queued',
    model: job.model,
    version: job.version,
    lane: job.lane,
    created_at: new Date(createdAtMs).toISOString(),
    rows: { total: job.rows },
    metadata: job.request.metadata ?? {},
    request_id: job.request.request_id,
    urls,
  });
}

/** What would be made of it: the answer to `?dry_run=1`. */
function planOf({ model, version, lane, inputs, request }: NewJob): z.infer<typeof jobPlan> {
  return {
    object: 'job_plan',
    model,
    version,
    lane,
    priority: request.priority ?? 0,
    service: request.service ?? null,
    rows: { total: inputs.length },
    input_bytes: Buffer.byteLength(JSON.stringify(inputs)),
  };
}

/** The job that an earlier request with this key has made. @throws Problem idempotency_key_reused, job_gone */
async function findMade(
  { store, reservations, removals, retentionMs }: CreateJobOptions,
  tenant: string,
  key: string,
  bodySha256: string,
): Promise<JobRecord | undefined> {
  const reservation = await reservations.find(tenant, key);
  if (!reservation) return undefined;
  assertSameBody(reservation.bodySha256, bodySha256);
  const made = await store.read(tenant, reservation.jobId);
  if (made) return made;
  // A repeat that is late must not bring a job back that was deleted.
  const removedAtMs = await removals.removedAtMs(tenant, reservation.jobId);
  if (removedAtMs !== undefined) return throwMissing({ removals, retentionMs }, tenant, reservation.jobId);
  // Whoever reserved it may have gone before it was made.
  return undefined;
}

/**
 * Gives the job the id that its key stands for. Whether another request has had that id reserved.
 * @throws Problem idempotency_key_reused
 */
async function reserve(
  { reservations }: CreateJobOptions,
  { key, bodySha256, job }: { key: string; bodySha256: string; job: NewJob },
): Promise<boolean> {
  const { retention_s: retentionS = Number.POSITIVE_INFINITY } = job.request;
  const reservation = { jobId: job.id, bodySha256 };
  const standing = await reservations.reserve(job.tenant, key, reservation, retentionS * 1000);
  assertSameBody(standing.bodySha256, bodySha256);
  const isOfAnother = standing.jobId !== job.id;
  job.id = standing.jobId;
  return isOfAnother;
}

function assertSameBody(standing: string, sent: string): void {
  if (standing === sent) return;
  throw new Problem(
    'idempotency_key_reused',
    'This Idempotency-Key came with another body before. Send that body again, or use a new key.',
  );
}

/** @throws Problem for whatever the model, its rows or the state of the platform have against it. */
async function prepareJob(
  options: CreateJobOptions,
  body: JobRequest,
  { cancelAfterS, cacheWish, response }: RequestContext,
): Promise<NewJob> {
  const { catalog, partitions, tenants } = options;
  const tenant = tenantOf(response);
  options.checkWebhook(body.webhook);
  const versions = await catalog.versionsOf(body.model, body.version);
  if (!has(versions, body.version)) await catalog.assertNotGone(body.model, body.version);
  const descriptor = assignVersion(
    body.model,
    versions.map((published) => published.descriptor),
    body.version,
  );
  const inputs = await validRows(tenant, body, options, descriptor);
  assertAvailable(descriptor.name, descriptor.version, versions);

  options.memory.assertAdmits();
  const { lane, priority } = serviceOf(body);
  const { retention_s: retentionS } = await tenants.read(tenant);
  const partition = partitionOf(descriptor.name, partitions);
  const job: NewJob = {
    id: newJobId({ createdAtMs: Date.now(), partition }),
    tenant,
    partition,
    model: descriptor.name,
    version: descriptor.version,
    lane,
    inputs,
    maxQueueWaitS: descriptor.max_queue_wait_s,
    request: {
      ...(retentionS === null ? {} : { retention_s: retentionS }),
      ...requestRecordOf({ ...body, priority }, options.requestLimits),
      request_id: response.locals.requestId as string,
      ...arrivalOf(response),
      ...traceOf(response),
      ...(cancelAfterS === undefined ? {} : { cancel_after_s: cancelAfterS }),
      ...(descriptor.cache && !cacheWish.mayKeep ? { no_store: true } : {}),
    },
  };
  if (cacheWish.mayReuse) job.reuse = reuseOrder(job, descriptor, options.flightLeaseMs);
  return job;
}

function has(versions: readonly PublishedModel[], pinned: string | undefined): boolean {
  return versions.some(({ descriptor }) => descriptor.version === (pinned ?? descriptor.version));
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

/** @throws Problem invalid_request */
async function validRows(
  tenant: string,
  body: JobRequest,
  { inputs, catalog }: CreateJobOptions,
  descriptor: ModelDescriptor,
): Promise<JobInputs['rows']> {
  const { rows, pathOf } = await inputs.read(tenant, body, descriptor);
  const faults = rowFaults(rows, catalog.rowSchemaOf({ descriptor }), pathOf);
  if (faults.length > 0) throw invalidRequest(`A row of model "${body.model}"`, faults);
  return rows;
}

function requestedWaitS(request: Request, { maxWaitS }: CreateJobOptions): number {
  return Math.min(parsePrefer(request.get('prefer')).waitS ?? 0, maxWaitS);
}

/**
 * Queues the job, and waits for its end. What goes wrong with the waiting is no reason not to say that the job was accepted.
 */
async function submit(
  options: CreateJobOptions,
  job: NewJob,
  { waitS, signal }: Wait,
): Promise<Omit<Submitted, 'isReplayed'> & { isNew: boolean }> {
  const { store, waiter } = options;
  const shown = { ...job, rows: job.inputs.length };
  if (waitS === 0 || waiter.isFull) {
    const { createdAtMs, isNew } = await enqueue(options, job);
    return { job: shown, createdAtMs, isNew, waitedS: undefined, ended: undefined };
  }
  let accepted: AcceptedJob | undefined;
  const { tenant, id } = job;
  const begin = async () => {
    accepted = await enqueue(options, job);
    return accepted.reuse?.state;
  };
  const made = () => ({ createdAtMs: accepted?.createdAtMs ?? 0, isNew: accepted?.isNew ?? true });
  const wait = (before?: () => Promise<void>) => waiter.wait(tenant, id, waitS * 1000, signal, before);
  // What may have its answers already is subscribed to when it is known not to.
  const endOfReused = async () => ((await begin()) === 'ended' ? store.read(tenant, id) : wait());
  try {
    const record = job.reuse ? await endOfReused() : await wait(async () => void (await begin()));
    return { job: shown, ...made(), waitedS: waitS, ended: endedOf(record) };
  } catch (error) {
    if (accepted === undefined) throw error;
    return { job: shown, ...made(), waitedS: undefined, ended: undefined };
  }
}

/** Waits for the end of a job that is there already. */
async function waitFor({ waiter }: CreateJobOptions, made: JobRecord, { waitS, signal }: Wait): Promise<Submitted> {
  const mayWait = waitS > 0 && !waiter.isFull;
  const record = mayWait ? await waiter.wait(made.tenant, made.id, waitS * 1000, signal) : null;
  return {
    job: made,
    createdAtMs: Math.floor(made.created_us / 1000),
    waitedS: mayWait ? waitS : undefined,
    ended: endedOf(record),
    isReplayed: true,
  };
}

function endedOf(record: JobRecord | null): JobRecord | undefined {
  return record !== null && isTerminal(record.state) ? record : undefined;
}

/** @throws Problem backlog_full, deadline_unmeetable */
async function enqueue(options: CreateJobOptions, job: NewJob): Promise<AcceptedJob> {
  const { store, metrics } = options;
  const limits = limitsFor(options, job);
  if (job.request.expires_in_s !== undefined) job.msPerJob = options.backlogMonitor.bestMsPerJob(job.model);
  faultPoint('enqueue.before');
  const outcome = await store.enqueue(job, limits);
  faultPoint('enqueue.after');
  if (outcome.status !== 'accepted') throw backlogFull(options, job.model, outcome, limits);
  // Of several requests with one new key, only that which made the job counts.
  if (!outcome.isNew) return outcome;
  const labels = { model: job.model, version: job.version, lane: job.lane };
  metrics.jobsAccepted.inc(labels);
  metrics.rowsAccepted.inc(labels, job.inputs.length);
  const { network_in_ms = 0, validate_ms = 0 } = job.request;
  metrics.phaseDuration.observe({ model: job.model, phase: 'network_in' }, network_in_ms / 1000);
  metrics.phaseDuration.observe({ model: job.model, phase: 'validate' }, validate_ms / 1000);
  if (job.reuse) countReuse(metrics, job, outcome);
  return outcome;
}

type AcceptedJob = Extract<EnqueueOutcome, { status: 'accepted' }>;

function countReuse(metrics: ApiMetrics, { model, version, inputs }: NewJob, { reuse }: AcceptedJob): void {
  const { rows = 0, state = 'queued' } = reuse ?? {};
  metrics.countReuse(
    { model, version },
    { hit: rows, [state === 'following' ? 'follow' : 'miss']: inputs.length - rows },
  );
}
