import {
  faultPoint,
  type JobIndex,
  type JobRecord,
  jobUrls,
  metadata,
  Problem,
  type RetriedRows,
  retriedRows,
} from '@onqueue/shared';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { tenantOf } from '../auth/caller.ts';
import { assertAvailable } from '../availability.ts';
import { type BacklogFullOptions, backlogFull } from '../backlog-full.ts';
import { validate } from '../http/validation.ts';
import type { MemoryGuard } from '../memory-guard.ts';
import type { ModelCatalog } from '../model-catalog.ts';
import { type DeliveryStatuses, showJob } from '../shown-job.ts';
import { type FindJobOptions, findJob, throwMissing } from './find-job.ts';
import { assertIndexed, jobCursor, jobFilter, toJobQuery } from './list-jobs.ts';

export interface RetryJobsOptions extends FindJobOptions, BacklogFullOptions {
  index: JobIndex;
  indexedMetadata: readonly string[];
  catalog: ModelCatalog;
  memory: MemoryGuard;
  listMaxLooks: number;
  maxJobsPerCall: number;
  deliveries: DeliveryStatuses;
  publicUrl: string | undefined;
}

/** The body of `POST /jobs/retry`. */
export const bulkRetryRequest = jobFilter.extend({
  status: z.enum(['failed', 'expired', 'canceled']).default('failed').describe('Of the jobs that are run again.'),
  metadata: metadata.optional().describe('Values of indexed metadata keys.'),
  rows: retriedRows.default('all').describe('`unfinished`: rows that have an answer keep it.'),
  limit: z.number().int().min(1).optional().describe('Jobs of this call; never more than `ONQUEUE_MAX_JOBS_PER_CALL`.'),
  starting_after: jobCursor.optional(),
});

/** `POST /jobs/:id/retry`: opens the next run; the job keeps its id. */
export async function retryJob(options: RetryJobsOptions, request: Request, response: Response): Promise<void> {
  const id = String(request.params.id);
  const rows = retriedRows.safeParse(request.query.rows ?? 'all');
  if (!rows.success) {
    const errors = [{ pointer: '?rows', detail: 'all or unfinished' }];
    throw new Problem('invalid_request', '`rows` is all or unfinished.', { errors });
  }
  const tenant = tenantOf(response);
  await reopen(options, await findJob(options, tenant, id), rows.data);
  const job = await findJob(options, tenant, id);
  response.locals.jobId = id;
  response.status(202).location(jobUrls(id, options.publicUrl).self);
  response.json(await showJob(options.deliveries, job, options.publicUrl));
}

/** `POST /jobs/retry`: the same for all jobs that a filter lets through, the newest first, so many a call. */
export async function retryJobs(options: RetryJobsOptions, request: Request, response: Response): Promise<void> {
  const {
    limit,
    starting_after: after,
    rows,
    metadata: values = {},
    ...filter
  } = validate(bulkRetryRequest, request.body, 'The filter');
  assertIndexed(Object.keys(values), options.indexedMetadata, (key) => `/metadata/${key}`);
  const texts = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)]));
  const page = await options.index.list({
    ...toJobQuery(tenantOf(response), { ...filter, metadata: texts }, options.listMaxLooks),
    limit: Math.min(limit ?? options.maxJobsPerCall, options.maxJobsPerCall),
    ...(after === undefined ? {} : { after }),
  });
  const data: RetriedJob[] = [];
  // One after the other: what stops one (a full backlog) is known before the next is asked for.
  let stop: Problem | undefined;
  for (const job of page.jobs) {
    const outcome = await attempt(options, job, rows);
    if (outcome instanceof Problem) {
      stop = outcome;
      break;
    }
    data.push(outcome);
  }
  // Nothing was done, and a client that only looks at the status must know.
  if (stop && data.length === 0) throw stop;
  if (stop?.retryAfterS !== undefined) response.set('Retry-After', String(stop.retryAfterS));
  const next = stop ? (data.at(-1)?.id ?? null) : (page.next ?? null);
  response.json({
    object: 'list',
    data,
    has_more: stop !== undefined || page.next !== undefined,
    next,
    stopped_by: stop?.code ?? null,
  });
}

/** A job that was run again, or why it was passed over. */
export const retriedJob = z.object({
  id: z.string(),
  retried: z.boolean(),
  run: z.number().int().nullable(),
  code: z.string().nullable(),
});
type RetriedJob = z.infer<typeof retriedJob>;

/** What only this job meets (it is gone, or was retried by somebody else) is told of it; anything else stops the call. */
async function attempt(options: RetryJobsOptions, job: JobRecord, rows: RetriedRows): Promise<RetriedJob | Problem> {
  try {
    return { id: job.id, retried: true, run: await reopen(options, job, rows), code: null };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!OF_ONE_JOB.has(error.code)) return error;
    return { id: job.id, retried: false, run: null, code: error.code };
  }
}

const OF_ONE_JOB = new Set<string>([
  'job_gone',
  'job_not_found',
  'job_not_retryable',
  'record_too_new',
  'version_gone',
]);

/** The number of the run that was opened. @throws Problem job_not_retryable, backlog_full, lane_draining, model_unavailable, storage_full … */
async function reopen(options: RetryJobsOptions, before: JobRecord, rows: RetriedRows): Promise<number> {
  const { store, catalog, backlogLimits, memory } = options;
  memory.assertAdmits();
  const versions = await catalog.versionsOf(before.model, before.version);
  assertAvailable(before.model, before.version, versions);
  if (!versions.some(({ descriptor }) => descriptor.version === before.version)) {
    await catalog.assertNotGone(before.model, before.version);
  }
  const outcome = await store.retry(before.tenant, before.id, backlogLimits, rows);
  faultPoint('retry.after');
  if (outcome.status === 'queued') return outcome.run;
  if (outcome.status === 'missing') return throwMissing(options, before.tenant, before.id);
  if (outcome.status !== 'not_retryable') throw backlogFull(options, before.model, outcome);
  throw new Problem(
    'job_not_retryable',
    `The job is ${outcome.state}; only failed, expired and canceled ones run again.`,
  );
}
