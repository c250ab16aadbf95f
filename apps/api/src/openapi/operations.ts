import { jobRequest } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { filePaths } from './file-operations.ts';
import { modelVersionPaths } from './model-versions.ts';
import * as replies from './replies.ts';
import { json, problems, STORAGE } from './responses.ts';
import { webhookPaths } from './webhook-operations.ts';

const jobId = { path: z.object({ id: z.string().meta({ example: 'job_038g18kw5j000yedna7n93cy7skaf' }) }) };

/** Each route with its parameters, bodies and problems. A test compares them with what Express serves. */
export const paths: ZodOpenApiPathsObject = {
  '/jobs': {
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
              input: { image: 'iVBORw0KGgo…' },
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
          },
        },
      },
      responses: {
        200: json(
          z.union([replies.job, replies.jobPlan]),
          'The job has ended within the time that `Prefer: wait=N` gave it; or, with `dry_run=1`, what would be made of it.',
        ),
        202: json(replies.acceptedJob, 'The job is stored. `Location` is where to look for it.'),
        ...problems(
          ['invalid_request', 'malformed_json', 'json_too_complex', 'too_many_rows', 'webhooks_not_configured'],
          ['malformed_multipart', 'file_not_found'],
          [
            'model_not_found',
            'version_not_found',
            'version_gone',
            'idempotency_key_reused',
            'payload_too_large',
            'unsupported_media_type',
          ],
          ['backlog_full', 'model_unavailable', 'storage_full', ...STORAGE],
        ),
      },
    },
  },
  '/jobs/{id}': {
    get: {
      operationId: 'readJob',
      tags: ['Jobs'],
      summary: 'Read a job',
      requestParams: {
        ...jobId,
        query: z.object({
          wait: z
            .string()
            .regex(/^\d+$/)
            .optional()
            .describe('Seconds to hold the answer for, until the job has ended.'),
        }),
      },
      responses: {
        200: json(replies.job, 'The job as it is. `Retry-After` while it has not ended.'),
        ...problems(['invalid_request', 'job_not_found', 'record_too_new', 'too_many_waiters', ...STORAGE]),
      },
    },
  },
  '/jobs/{id}/cancel': {
    post: jobAction('cancelJob', 'Cancel a job', 'Final at once, also for a job that runs.', {
      200: json(replies.job, 'The job, canceled.'),
      ...problems(['job_not_found', 'job_ended', 'record_too_new', ...STORAGE]),
    }),
  },
  '/jobs/{id}/retry': {
    post: jobAction('retryJob', 'Run a job again', 'Opens the next run of a failed, expired or canceled job.', {
      202: json(replies.job, 'The job, queued again.'),
      ...problems(
        ['job_not_found', 'job_not_retryable', 'version_gone', 'record_too_new'],
        ['backlog_full', 'storage_full', ...STORAGE],
      ),
    }),
  },
  '/jobs/{id}/runs': {
    get: jobAction('listRuns', 'List the runs of a job', 'The latest one first.', {
      200: json(replies.runList, 'Every run.'),
      ...problems(['job_not_found', 'record_too_new', ...STORAGE]),
    }),
  },
  ...filePaths,
  ...webhookPaths,
  '/models': {
    get: {
      operationId: 'listModels',
      tags: ['Models'],
      summary: 'List the models',
      responses: { 200: json(replies.modelList, 'What can be scored.'), ...problems([...STORAGE]) },
    },
  },
  '/models/{name}': {
    get: {
      operationId: 'readModel',
      tags: ['Models'],
      summary: 'Read a model: its signature, the schema of a row, an example',
      requestParams: { path: z.object({ name: z.string() }) },
      responses: {
        200: json(replies.model, 'The newest version, and what is known of each.'),
        ...problems(['model_not_found', 'version_gone', ...STORAGE]),
      },
    },
  },
  ...modelVersionPaths,
  '/livez': {
    get: probe('livez', 'Whether the process is alive', { 200: json(replies.liveness, 'It is.') }),
  },
  '/readyz': {
    get: probe('readyz', 'Whether jobs are taken', {
      200: json(replies.readiness, 'They are.'),
      503: json(replies.readiness, 'They are not; the body says why.'),
    }),
  },
  '/metrics': {
    get: probe('metrics', 'Metrics for Prometheus', {
      200: { description: 'Text exposition format.', content: { 'text/plain': { schema: z.string() } } },
    }),
  },
  '/openapi.json': {
    get: probe('openapi', 'This document', {
      200: json(z.record(z.string(), z.unknown()), 'OpenAPI 3.1.'),
    }),
  },
  '/docs': {
    get: probe('docs', 'This document as a page', {
      200: { description: 'A page that needs no other server.', content: { 'text/html': { schema: z.string() } } },
    }),
  },
  '/docs/{asset}': {
    get: {
      ...probe('docsAsset', 'What the page consists of', {
        200: { description: 'A script or a style sheet.' },
        ...problems(['not_found']),
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

function probe(
  operationId: string,
  summary: string,
  responses: ZodOpenApiOperationObject['responses'],
): ZodOpenApiOperationObject {
  return { operationId, tags: ['Operations'], summary, responses };
}
