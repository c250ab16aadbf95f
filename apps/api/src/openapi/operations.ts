import { jobRequest, lane, retriedRows } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { jobListQuery } from '../routes/list-jobs.ts';
import { bulkRetryRequest } from '../routes/retry-jobs.ts';
import { adminPaths } from './admin-operations.ts';
import * as examples from './examples.ts';
import { filePaths } from './file-operations.ts';
import { created, etag, location, mayRetryAfter, retryAfter } from './headers.ts';
import { modelVersionPaths } from './model-versions.ts';
import * as replies from './replies.ts';
import { json, notModified, problems, STORAGE } from './responses.ts';
import { webhookPaths } from './webhook-operations.ts';

const wait = z.string().regex(/^\d+$/).optional().describe('Seconds to hold the answer for, until the job has ended.');
const ifNoneMatch = z.string().optional().describe('The `ETag` of the answer that the client has.');

const eventId = z
  .string()
  .regex(/^\d{1,9}-\d{1,9}$/)
  .optional();

const jobId = { path: z.object({ id: z.string().meta({ example: 'job_038g18kw5j000yedna7n93cy7skaf' }) }) };

/** Each route with its parameters, bodies and problems. A test compares them with what Express serves. */
export const paths: ZodOpenApiPathsObject = {
  '/jobs': {
    get: {
      operationId: 'listJobs',
      tags: ['Jobs'],
      summary: 'List jobs, the newest first',
      description:
        '`metadata[key]=value`, of keys that the server indexes, narrows the list further. A page can have fewer jobs than `limit` though there are more: `has_more` counts.',
      requestParams: {
        query: jobListQuery.extend({
          metadata: z
            .record(z.string(), z.string())
            .optional()
            .meta({ param: { style: 'deepObject', explode: true }, example: { order: 'A-7' } }),
        }),
      },
      responses: {
        200: json(replies.jobList, 'A page.', examples.jobList, etag),
        304: notModified(etag),
        ...problems(['invalid_request', ...STORAGE]),
      },
    },
    post: {
      operationId: 'createJob',
      tags: ['Jobs'],
      summary: 'Post a job',
      description:
        'Answered 202 once the job and its place in the queue are stored. With `Prefer: wait=N` the answer is held until the job has ended: 200 with its results, or 202 when the time is over.',
      requestParams: {
        header: z.object({
          'Idempotency-Key': z
            .string()
            .min(1)
            .max(255)
            .optional()
            .meta({ description: 'Names the job: a repeat with the same body finds it, and makes no other.' }),
          'Cancel-After': z.string().optional().meta({
            description:
              'Cancels the first run if it has not ended so long after its acceptance: 1 second to 7 days, as `90s`, `5m`, `1h30m`.',
            example: '1m',
          }),
          'Cache-Control': z.string().optional().meta({
            description:
              'Of a model whose answers are given again: `no-cache` has every row computed, `no-store` keeps none of the answers either.',
            example: 'no-cache',
          }),
          traceparent: z.string().optional().meta({
            description: 'W3C Trace Context, with `tracestate`: kept with the job, and sent with its webhooks.',
            example: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
          }),
          Prefer: z.string().optional().meta({ description: 'RFC 7240: `wait=N`, whole seconds.', example: 'wait=10' }),
        }),
        query: z.object({
          dry_run: z
            .enum(['0', '1', 'false', 'true'])
            .optional()
            .describe('`1`: the job is checked, answered 200 with what would be made of it, and not stored.'),
        }),
      },
      requestBody: {
        required: true,
        content: {
          'application/json': {
            schema: jobRequest,
            example: {
              model: 'digits',
              input: { image: 'iVBORw0KGgo=' },
              metadata: { order: 'A-7' },
            },
          },
          'multipart/form-data': {
            schema: z.object({
              image: z
                .array(z.string().meta({ format: 'binary' }))
                .optional()
                .describe('Each is a row `{"image": …}`, in their order.'),
              job: z.string().optional().describe('JSON: all of a job but its rows.'),
              model: z.string().optional(),
              version: z.string().optional(),
              lane: z.string().optional(),
              service_class: z.string().optional(),
            }),
            example: { model: 'digits', image: ['The bytes of a PNG.'] },
          },
        },
      },
      responses: {
        200: json(
          z.union([replies.job, replies.jobPlan]),
          'The job has ended within the time that `Prefer: wait=N` gave it; or, with `dry_run=1`, what would be made of it.',
          { examples: { ended: examples.job, dry_run: examples.jobPlan } },
          { Location: location.Location.optional(), ...created },
        ),
        202: json(replies.acceptedJob, 'The job is stored. `Location` is where to look for it.', examples.acceptedJob, {
          ...location,
          ...created,
        }),
        ...problems(
          ['invalid_request', 'malformed_json', 'json_too_complex', 'too_many_rows', 'webhooks_not_configured'],
          ['malformed_multipart', 'file_not_found'],
          [
            'model_not_found',
            'version_not_found',
            'version_gone',
            'idempotency_key_reused',
            'job_gone',
            'payload_too_large',
            'unsupported_media_type',
          ],
          [
            'backlog_full',
            'deadline_unmeetable',
            'rate_limited',
            'quota_exceeded',
            'lane_draining',
            'model_unavailable',
            'storage_full',
            ...STORAGE,
          ],
        ),
      },
    },
  },
  '/jobs/{id}': {
    delete: jobAction(
      'deleteJob',
      'Delete a job',
      'Only one that has ended. Its data is removed now; that it was deleted is remembered for 30 days. May be repeated.',
      {
        200: json(replies.deletedJob, 'It is deleted.', examples.deletedJob),
        ...problems(['invalid_request', 'job_not_found', 'job_gone', 'job_not_finished', 'record_too_new', ...STORAGE]),
      },
    ),
    get: {
      operationId: 'readJob',
      tags: ['Jobs'],
      summary: 'Read a job',
      requestParams: {
        ...jobId,
        query: z.object({ wait }),
        header: z.object({ 'If-None-Match': ifNoneMatch }),
      },
      responses: {
        200: json(
          replies.job,
          'The job as it is, with its `ETag`. `Retry-After` while it has not ended.',
          examples.job,
          { ...etag, ...mayRetryAfter },
        ),
        304: notModified(etag),
        ...problems(['invalid_request', 'job_not_found', 'job_gone', 'record_too_new', 'too_many_waiters', ...STORAGE]),
      },
    },
  },
  '/jobs/{id}/result': {
    get: {
      operationId: 'readJobResult',
      tags: ['Jobs'],
      summary: 'Read the result of a job that has ended',
      description:
        '200 says that there is a result; `status` and `error` say whether the job succeeded. As NDJSON: its rows, one a line.',
      requestParams: {
        ...jobId,
        query: z.object({ wait }),
        header: z.object({
          Accept: z.string().optional().meta({ example: 'application/x-ndjson' }),
          'If-None-Match': ifNoneMatch,
        }),
      },
      responses: {
        200: {
          description: 'The result, with its `ETag`.',
          headers: z.object(etag),
          content: {
            'application/json': { schema: replies.result, example: examples.result },
            'application/x-ndjson': {
              schema: replies.resultLine,
              example: examples.resultLine,
            },
          },
        },
        304: notModified(etag),
        ...problems(
          ['invalid_request', 'job_not_found', 'job_gone', 'job_not_finished', 'job_without_rows'],
          ['record_too_new', 'too_many_waiters', ...STORAGE],
        ),
      },
    },
  },
  '/jobs/{id}/events': {
    get: {
      operationId: 'readJobEvents',
      tags: ['Jobs'],
      summary: 'Follow a job: Server-Sent Events, or WebSocket',
      description:
        'What has happened and what happens, until the job has ended. `Last-Event-ID`, or `starting_after`, goes on behind an event. A request that asks for WebSocket gets each event as a text message.',
      requestParams: {
        ...jobId,
        query: z.object({ starting_after: eventId.describe('The last event that the reader has.') }),
        header: z.object({ 'Last-Event-ID': eventId.describe('The same; it counts where both are there.') }),
      },
      responses: {
        101: {
          description: 'WebSocket, whose messages are events as JSON.',
          content: { 'application/json': { schema: z.union([replies.event, replies.gap]), example: examples.event } },
        },
        200: {
          description: 'The events.',
          content: { 'text/event-stream': { schema: replies.eventStream, example: examples.eventStream } },
        },
        204: { description: 'The job has ended, and the reader has all of its events.' },
        ...problems(['invalid_request', 'job_not_found', 'job_gone', 'record_too_new', 'too_many_readers', ...STORAGE]),
      },
    },
  },
  '/jobs/{id}/cancel': {
    post: jobAction('cancelJob', 'Cancel a job', 'Final at once, also for a job that runs.', {
      200: json(replies.job, 'The job, canceled.', examples.canceledJob),
      ...problems(['invalid_request', 'job_not_found', 'job_gone', 'job_ended', 'record_too_new', ...STORAGE]),
    }),
  },
  '/jobs/{id}/retry': {
    post: {
      operationId: 'retryJob',
      tags: ['Jobs'],
      summary: 'Run a job again',
      description: 'Opens the next run of a failed, expired or canceled job.',
      requestParams: {
        ...jobId,
        query: z.object({ rows: retriedRows.optional().describe('`unfinished`: rows that have an answer keep it.') }),
      },
      responses: {
        202: json(replies.job, 'The job, queued again.', examples.queuedJob, location),
        ...problems(
          ['invalid_request', 'job_not_found', 'job_gone', 'job_not_retryable', 'record_too_new'],
          ['version_gone', 'backlog_full', 'lane_draining', 'model_unavailable', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/jobs/retry': {
    post: {
      operationId: 'retryJobs',
      tags: ['Jobs'],
      summary: 'Run all jobs again that a filter lets through',
      description: 'The newest first, so many a call; `next` goes on.',
      requestBody: {
        required: true,
        content: {
          'application/json': {
            schema: bulkRetryRequest,
            example: { model: 'digits', created_after: '2026-11-22T00:00:00Z' },
          },
        },
      },
      responses: {
        200: json(
          replies.retriedJobs,
          'What was run again, and what was passed over.',
          examples.retriedJobs,
          mayRetryAfter,
        ),
        ...problems(
          ['invalid_request', 'malformed_json', 'json_too_complex', 'payload_too_large', 'unsupported_media_type'],
          ['version_gone', 'backlog_full', 'lane_draining', 'model_unavailable', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/jobs/{id}/runs': {
    get: jobAction('listRuns', 'List the runs of a job', 'The latest one first.', {
      200: json(replies.runList, 'Every run.', examples.runList),
      ...problems(['invalid_request', 'job_not_found', 'job_gone', 'record_too_new', ...STORAGE]),
    }),
  },
  ...filePaths,
  ...webhookPaths,
  '/models': {
    get: {
      operationId: 'listModels',
      tags: ['Models'],
      summary: 'List the models',
      responses: {
        200: json(replies.modelList, 'What can be scored.', examples.modelList),
        ...problems(['invalid_request', ...STORAGE]),
      },
    },
  },
  '/models/{name}': {
    get: {
      operationId: 'readModel',
      tags: ['Models'],
      summary: 'Read a model: its signature, the schema of a row, an example',
      requestParams: { path: z.object({ name: z.string() }) },
      responses: {
        200: json(replies.model, 'The newest version, and what is known of each.', examples.model),
        ...problems(['invalid_request', 'model_not_found', 'version_gone', ...STORAGE]),
      },
    },
  },
  ...laneActions({
    pause: 'Have workers take nothing of a lane; jobs are accepted within its limits',
    resume: 'Open a lane that is paused or draining',
    drain: 'Accept no jobs for a lane, and have it run empty',
  }),
  '/admin/queues': {
    get: {
      operationId: 'listQueues',
      tags: ['Operations'],
      summary: 'Show the queue of every model, lane by lane',
      responses: {
        200: json(replies.queueList, 'What waits, and what operators have each lane do.', examples.queueList),
        ...problems(['invalid_request', ...STORAGE]),
      },
    },
  },
  '/admin/models/{name}/lanes/{lane}/purge': {
    post: laneAction('purgeLane', 'Cancel the jobs of a lane that no worker holds, so many a call', {
      200: json(replies.purge, 'How many were canceled.', examples.purge),
    }),
  },
  ...modelVersionPaths,
  ...adminPaths,
  '/livez': {
    get: probe('livez', 'Whether the process is alive', { 200: json(replies.liveness, 'It is.', examples.liveness) }),
  },
  '/readyz': {
    get: probe('readyz', 'Whether jobs are taken', {
      200: json(replies.readiness, 'They are.', examples.readiness),
      503: json(replies.readiness, 'They are not; the body says why.', examples.unreadiness, retryAfter),
    }),
  },
  '/metrics': {
    get: probe('metrics', 'Metrics for Prometheus', {
      200: {
        description: 'Text exposition format.',
        content: { 'text/plain': { schema: z.string(), example: examples.metrics } },
      },
    }),
  },
  '/openapi.json': {
    get: probe('openapi', 'This document', {
      200: json(z.record(z.string(), z.unknown()), 'OpenAPI 3.1.', examples.openApi),
    }),
  },
  '/docs': {
    get: probe('docs', 'This document as a page', {
      200: {
        description: 'A page that needs no other server.',
        content: { 'text/html': { schema: z.string(), example: examples.page } },
      },
    }),
  },
  '/docs/{asset}': {
    get: {
      ...probe('docsAsset', 'What the page consists of', {
        200: {
          description: 'A script or a style sheet.',
          content: {
            'text/javascript': { schema: z.string(), example: 'SwaggerUIBundle({});' },
            'text/css': { schema: z.string(), example: 'html { margin: 0 }' },
          },
        },
        304: notModified(),
        ...problems(['invalid_request', 'not_found']),
      }),
      requestParams: { path: z.object({ asset: z.string() }) },
    },
  },
};

function jobAction(
  operationId: string,
  summary: string,
  description: string,
  responses: ZodOpenApiOperationObject['responses'],
): ZodOpenApiOperationObject {
  return { operationId, tags: ['Jobs'], summary, description, requestParams: jobId, responses };
}

function laneActions(summaries: Record<keyof typeof examples.lane, string>): ZodOpenApiPathsObject {
  return Object.fromEntries(
    (Object.entries(summaries) as [keyof typeof examples.lane, string][]).map(([action, summary]) => [
      `/admin/models/{name}/lanes/{lane}/${action}`,
      {
        post: laneAction(`${action}Lane`, summary, {
          200: json(replies.laneChange, 'The lane as it is from now on.', examples.lane[action]),
        }),
      },
    ]),
  );
}

function laneAction(
  operationId: string,
  summary: string,
  responses: ZodOpenApiOperationObject['responses'],
): ZodOpenApiOperationObject {
  return {
    operationId,
    tags: ['Operations'],
    summary,
    requestParams: { path: z.object({ name: z.string(), lane }) },
    responses: { ...responses, ...problems(['invalid_request', 'model_not_found', 'not_found', ...STORAGE]) },
  };
}

function probe(
  operationId: string,
  summary: string,
  responses: ZodOpenApiOperationObject['responses'],
): ZodOpenApiOperationObject {
  return { operationId, tags: ['Operations'], summary, responses };
}
