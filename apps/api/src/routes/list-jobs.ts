import { type JobIndex, type JobQuery, jobState, modelName, parseJobId, toJobSummary } from '@onqueue/shared';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { tenantOf } from '../auth/caller.ts';
import { sendConditional } from '../http/conditional-json.ts';
import { invalidRequest, problemErrors } from '../http/validation.ts';

export interface ListJobsOptions {
  index: JobIndex;
  indexedMetadata: readonly string[];
  listMaxLooks: number;
  publicUrl: string | undefined;
}

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

const time = z.iso.datetime({ offset: true, error: 'a time such as 2026-11-22T03:20:26Z' });

/** Which jobs are meant; of the query of `GET /jobs` and the body of `POST /jobs/retry`. */
export const jobFilter = z.strictObject({
  model: modelName.optional(),
  status: jobState.optional(),
  created_after: time.optional().describe('At or after this time.'),
  created_before: time.optional().describe('Before this time.'),
});
export const jobCursor = z
  .string()
  .refine((id) => parseJobId(id) !== null, 'the id of a job')
  .describe('The page begins behind this job: `next` of the page before.');

export const jobListQuery = jobFilter.extend({
  limit: z
    .string()
    .regex(/^([1-9]\d?|100)$/, `1 to ${MAX_LIMIT}`)
    .optional()
    .describe(`Jobs a page, 1 to ${MAX_LIMIT}; ${DEFAULT_LIMIT} unless given.`),
  starting_after: jobCursor.optional(),
});

/** `GET /jobs`: a tenant's jobs, the newest first. */
export async function listJobs(options: ListJobsOptions, request: Request, response: Response): Promise<void> {
  const { limit, starting_after: after, ...filter } = parseQuery(request.query, options.indexedMetadata);
  const page = await options.index.list({
    ...toJobQuery(tenantOf(response), filter, options.listMaxLooks),
    limit: limit === undefined ? DEFAULT_LIMIT : Number(limit),
    ...(after === undefined ? {} : { after }),
  });
  sendConditional(request, response, {
    object: 'list',
    data: page.jobs.map((job) => toJobSummary(job, options.publicUrl)),
    has_more: page.next !== undefined,
    next: page.next ?? null,
  });
}

export interface JobFilter extends z.infer<typeof jobFilter> {
  metadata?: Readonly<Record<string, string>>;
}

export function toJobQuery(tenant: string, filter: JobFilter, maxLooks: number): Omit<JobQuery, 'limit'> {
  const { model, status, created_after: after, created_before: before, metadata = {} } = filter;
  return {
    tenant,
    maxLooks,
    ...(model === undefined ? {} : { model }),
    ...(status === undefined ? {} : { states: [status] }),
    ...(after === undefined ? {} : { createdAfterMs: Date.parse(after) }),
    ...(before === undefined ? {} : { createdBeforeMs: Date.parse(before) }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

/** @throws Problem invalid_request for a key that jobs are not listed under */
export function assertIndexed(
  keys: readonly string[],
  indexed: readonly string[],
  pointerOf: (key: string) => string,
): void {
  const unknown = keys.filter((key) => !indexed.includes(key));
  if (unknown.length === 0) return;
  const remedy = indexed.length === 0 ? 'no key is (ONQUEUE_INDEXED_METADATA)' : `indexed are ${indexed.join(', ')}`;
  const errors = unknown.map((key) => ({ pointer: pointerOf(key), detail: `not an indexed metadata key; ${remedy}` }));
  throw invalidRequest('The filter', errors);
}

/** @throws Problem invalid_request */
function parseQuery(query: Request['query'], indexed: readonly string[]) {
  const entries = Object.entries(query);
  const metadata = Object.fromEntries(
    entries.flatMap(([name, value]) => {
      const key = /^metadata\[(.*)\]$/s.exec(name)?.[1];
      return key === undefined ? [] : [[key, value]];
    }),
  );
  const rest = Object.fromEntries(entries.filter(([name]) => !/^metadata\[.*\]$/s.test(name)));
  const parsed = jobListQuery.extend({ metadata: z.record(z.string(), z.string()) }).safeParse({ ...rest, metadata });
  if (!parsed.success) {
    const errors = problemErrors(parsed.error.issues, { ...rest, metadata }, []);
    throw invalidRequest(
      'The query',
      errors.map(({ pointer, detail }) => ({ pointer: `?${pointer.slice(1)}`, detail })),
    );
  }
  assertIndexed(Object.keys(metadata), indexed, (key) => `?metadata[${key}]`);
  return parsed.data;
}
