import { type EventType, eventType, jobEventType, jobProgress, jobState, jobView } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiObject } from 'zod-openapi';
import * as examples from './examples.ts';

const timestamp = z.iso.datetime();
const example = '2026-11-22T03:25:57.732Z';

const { webhook_status: _, ...job } = examples.job;
const { id, object, model: modelName, version, lane, created_at, metadata, request_id, urls } = job;
const begun = { id, object, model: modelName, version, lane, created_at, metadata, request_id, urls, run: 1 };

const endedJob = jobView.extend({
  results_truncated: z.literal(true).optional().describe('The results are too long for an event: fetch the job.'),
});
const begunJob = jobView
  .pick({ id: true, object: true, model: true, version: true, lane: true, created_at: true, metadata: true })
  .extend({ status: jobState, run: z.number().int(), request_id: z.string(), urls: jobView.shape.urls });
const forgottenJob = z.object({ id: z.string(), object: z.literal('job'), status: jobState });
const model = z.object({ object: z.literal('model_version'), model: z.string(), version: z.string() });
const endpoint = z.object({ id: z.string(), object: z.literal('webhook_endpoint') });

/** What each event tells, and when. */
const EVENTS: Record<EventType, { summary: string; data: z.ZodType; example: object }> = {
  'job.queued': {
    summary: 'A run of a job waits to be started; told to those who name it',
    data: z.union([begunJob, forgottenJob]),
    example: { ...begun, status: 'queued' },
  },
  'job.started': {
    summary: 'A run of a job was started; told to those who name it',
    data: z.union([begunJob, forgottenJob]),
    example: { ...begun, status: 'running' },
  },
  'job.progress': {
    summary: 'Some of the rows of a job have ended; told to those who name it, now and then',
    data: z.union([begunJob.extend({ progress: jobProgress }), forgottenJob]),
    example: { ...begun, status: 'running', progress: { rows: { done: 120, total: 400 } } },
  },
  ...ended('succeeded', 'A job has its results'),
  ...ended('failed', 'A job has failed for good'),
  ...ended('canceled', 'A job was canceled'),
  ...ended('expired', 'A job was not started in time'),
  'model.ready': {
    summary: 'A version of a model can be used: the first worker has it in memory',
    data: model,
    example: { object: 'model_version', model: 'fraud', version: '2' },
  },
  'model.failed': {
    summary: 'A worker could not load a version of a model',
    data: model.extend({ worker: z.string(), reason: z.string().nullable() }),
    example: { object: 'model_version', model: 'fraud', version: '2', worker: 'w-1', reason: 'the file is damaged' },
  },
  'model.unloaded': {
    summary: 'No worker has a version of a model in memory any more',
    data: model,
    example: { object: 'model_version', model: 'fraud', version: '1' },
  },
  'endpoint.disabled': {
    summary: 'An endpoint is told nothing any more; told to the others',
    data: endpoint.extend({ url: z.string(), reason: z.string() }),
    example: { id: 'ep_1', object: 'webhook_endpoint', url: 'https://shop.example', reason: 'failing' },
  },
  'endpoint.test': {
    summary: 'Somebody wants to see whether events arrive',
    data: endpoint,
    example: { id: 'ep_1', object: 'webhook_endpoint' },
  },
};

function ended(state: 'succeeded' | 'failed' | 'canceled' | 'expired', summary: string) {
  const sample = { ...job, status: state };
  const event = { summary, data: z.union([endedJob, forgottenJob]), example: sample };
  return { [`job.${state}`]: event } as Record<`job.${typeof state}`, typeof event>;
}

/** The requests that receivers get, one for each type of event. */
export const eventWebhooks: NonNullable<ZodOpenApiObject['webhooks']> = Object.fromEntries(
  eventType.options.map((type) => {
    const { summary, data, example: sample } = EVENTS[type];
    const schema = z.object({ type: z.literal(type), timestamp, data });
    const to = jobEventType.safeParse(type).success ? 'the `webhook` of the job and to endpoints' : 'endpoints';
    const operationId = type.replace('.', '_');
    return [
      type,
      {
        post: {
          operationId,
          summary,
          description: `Sent to ${to}, signed as Standard Webhooks say: \`webhook-id\`, \`webhook-timestamp\`, \`webhook-signature\`.`,
          requestBody: {
            required: true,
            content: { 'application/json': { schema, example: { type, timestamp: example, data: sample } } },
          },
          responses: { '2XX': { description: 'Any of them is an acknowledgement; all else is tried again.' } },
        },
      },
    ];
  }),
);
