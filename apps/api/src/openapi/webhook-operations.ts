import { deliveryStatus, endpointDisabledReason, eventType } from '@onqueue/shared';
import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import { deliveryQuery, recoverRequest, replayRequest } from '../routes/webhook-deliveries.ts';
import { endpointChangeRequest, endpointRequest, rotateRequest } from '../routes/webhook-endpoints.ts';
import { location } from './headers.ts';
import { json, problems, STORAGE } from './responses.ts';
import * as examples from './webhook-examples.ts';

const time = z.iso.datetime();

const endpoint = z.object({
  id: z.string(),
  object: z.literal('webhook_endpoint'),
  url: z.string(),
  description: z.string().nullable(),
  events: z.array(eventType),
  models: z.array(z.string()),
  status: z.enum(['enabled', 'disabled']),
  disabled_reason: endpointDisabledReason
    .nullable()
    .describe('`gone`: it has answered 410. `failing`: it has not answered 2xx for days.'),
  rate_per_s: z.number().nullable(),
  concurrency: z.number().int().nullable(),
  secrets: z
    .array(z.object({ id: z.string(), created_at: time, expires_at: time.nullable() }))
    .describe('Those that sign now, without their values.'),
  public_keys: z.array(z.string()).describe('`whpk_…`: what its `v1a` signatures are verified with.'),
  created_at: time,
  updated_at: time,
  urls: z.object({ self: z.string(), rotate: z.string(), test: z.string() }),
});

export const webhookEndpointView = endpoint.meta({
  id: 'WebhookEndpoint',
  description: 'Where a tenant is told of events.',
});

export const endpointWithSecret = endpoint
  .extend({ secret: z.string().describe('`whsec_…`. It is shown this once.') })
  .meta({ id: 'WebhookEndpointWithSecret' });

const endpointList = z
  .object({ object: z.literal('list'), data: z.array(webhookEndpointView) })
  .meta({ id: 'WebhookEndpointList' });

export const deliveryView = z
  .object({
    id: z.string(),
    object: z.literal('webhook_delivery'),
    event_id: z.string().describe('The `webhook-id` that the receiver sees.'),
    type: eventType,
    status: deliveryStatus,
    job_id: z.string().nullable(),
    endpoint_id: z.string().nullable().describe("Null: the job's own `webhook`."),
    receiver: z.string(),
    created_at: time,
    redeliveries: z.number().int(),
    attempts: z.number().int(),
    latest_attempts: z.array(
      z.object({
        at: time,
        outcome: z.string(),
        status: z.number().int().nullable(),
        error_class: z.string().nullable(),
        latency_ms: z.number(),
        answer: z.string().nullable().describe('How the body of the answer begins, at most 1 KiB.'),
      }),
    ),
    urls: z.object({ self: z.string(), redeliver: z.string() }),
  })
  .meta({ id: 'WebhookDelivery', description: 'An event on its way to a receiver, and the newest 20 attempts.' });

export const deliveryList = z
  .object({ object: z.literal('list'), data: z.array(deliveryView), next_cursor: z.string().nullable() })
  .meta({ id: 'WebhookDeliveryList' });

const redelivery = z
  .object({ object: z.literal('redelivery'), deliveries: z.number().int().describe('How many are sent anew.') })
  .meta({ id: 'WebhookRedelivery' });

const test = z
  .object({ object: z.literal('webhook_test'), event_id: z.string(), urls: z.object({ deliveries: z.string() }) })
  .meta({ id: 'WebhookTest' });

const keys = z
  .object({
    keys: z.array(z.object({ algorithm: z.literal('ed25519'), signature: z.literal('v1a'), public_key: z.string() })),
  })
  .meta({ id: 'WebhookKeys' });

const endpointPath = z.object({ id: z.string().meta({ example: 'ep_6f1ed002ab5595859014ebf0951522d9' }) });
const deliveryPath = z.object({ id: z.string().meta({ example: 'dlv_6f1ed002ab5595859014ebf0951522d9' }) });
const tags = ['Webhooks'];
const body = (schema: z.ZodType, example: object) => ({
  required: true,
  content: { 'application/json': { schema, example } },
});
const BODY = [
  'invalid_request',
  'malformed_json',
  'json_too_complex',
  'payload_too_large',
  'unsupported_media_type',
] as const;

export const webhookPaths: ZodOpenApiPathsObject = {
  '/webhooks/endpoints': {
    get: {
      operationId: 'listWebhookEndpoints',
      tags,
      summary: 'List the endpoints',
      responses: {
        200: json(endpointList, 'All of them, the oldest first.', examples.endpoints),
        ...problems(['invalid_request', ...STORAGE]),
      },
    },
    post: {
      operationId: 'createWebhookEndpoint',
      tags,
      summary: 'Register an endpoint',
      requestBody: body(endpointRequest, {
        url: 'https://shop.example/hooks',
        events: ['job.failed'],
        models: ['fraud'],
      }),
      responses: {
        201: json(endpointWithSecret, 'The endpoint, with its secret.', examples.newEndpoint, location),
        ...problems([...BODY, 'webhooks_not_configured', 'endpoints_full', 'storage_full', ...STORAGE]),
      },
    },
  },
  '/webhooks/endpoints/{id}': {
    get: {
      operationId: 'readWebhookEndpoint',
      tags,
      summary: 'Read an endpoint',
      requestParams: { path: endpointPath },
      responses: {
        200: json(webhookEndpointView, 'The endpoint.', examples.endpoint),
        ...problems(['invalid_request', 'endpoint_not_found', ...STORAGE]),
      },
    },
    patch: {
      operationId: 'changeWebhookEndpoint',
      tags,
      summary: 'Change, disable or enable an endpoint',
      description: 'What is left out stays. It counts for every attempt from then on, also of events that wait.',
      requestParams: { path: endpointPath },
      requestBody: body(endpointChangeRequest, { status: 'enabled' }),
      responses: {
        200: json(webhookEndpointView, 'The endpoint as it is now.', examples.endpoint),
        ...problems([...BODY, 'webhooks_not_configured', 'endpoint_not_found', 'storage_full', ...STORAGE]),
      },
    },
    delete: {
      operationId: 'deleteWebhookEndpoint',
      tags,
      summary: 'Delete an endpoint',
      description: 'What was on its way to it fails at its next attempt.',
      requestParams: { path: endpointPath },
      responses: {
        204: { description: 'It is gone.' },
        ...problems(['invalid_request', 'endpoint_not_found', ...STORAGE]),
      },
    },
  },
  '/webhooks/endpoints/{id}/rotate': {
    post: {
      operationId: 'rotateWebhookSecret',
      tags,
      summary: 'Give an endpoint a new secret',
      description: 'The secrets before it sign beside it until the overlap is over.',
      requestParams: { path: endpointPath },
      requestBody: body(rotateRequest, { overlap_s: 86_400 }),
      responses: {
        200: json(endpointWithSecret, 'The endpoint, with its new secret.', examples.newEndpoint),
        ...problems([...BODY, 'endpoint_not_found', 'storage_full', ...STORAGE]),
      },
    },
  },
  '/webhooks/endpoints/{id}/test': {
    post: {
      operationId: 'testWebhookEndpoint',
      tags,
      summary: 'Send an event that tells nothing',
      description: 'An `endpoint.test`, also to an endpoint that is disabled.',
      requestParams: { path: endpointPath },
      responses: {
        202: json(test, 'It is on its way.', examples.test),
        ...problems(['invalid_request', 'endpoint_not_found', 'storage_full', ...STORAGE]),
      },
    },
  },
  '/webhooks/deliveries': {
    get: {
      operationId: 'listWebhookDeliveries',
      tags,
      summary: 'List deliveries',
      requestParams: { query: deliveryQuery },
      responses: {
        200: json(
          deliveryList,
          'The newest first. A page may be shorter than asked for; `next_cursor` tells whether there are more.',
          examples.deliveries,
        ),
        ...problems(['invalid_request', ...STORAGE]),
      },
    },
  },
  '/webhooks/deliveries/replay': {
    post: {
      operationId: 'replayWebhookDeliveries',
      tags,
      summary: 'Send all deliveries of a time window anew',
      description: 'Those that were made in it, delivered or failed. Their `webhook-id` stays.',
      requestBody: body(replayRequest, { from: '2026-11-22T03:00:00Z', to: '2026-11-22T04:00:00Z' }),
      responses: {
        202: json(redelivery, 'They are on their way.', examples.redelivery),
        ...problems([...BODY, 'storage_full', ...STORAGE]),
      },
    },
  },
  '/webhooks/deliveries/recover': {
    post: {
      operationId: 'recoverWebhookDeliveries',
      tags,
      summary: 'Send all that failed since a time anew',
      requestBody: body(recoverRequest, { since: '2026-11-22T03:00:00Z' }),
      responses: {
        202: json(redelivery, 'They are on their way.', examples.redelivery),
        ...problems([...BODY, 'storage_full', ...STORAGE]),
      },
    },
  },
  '/webhooks/deliveries/{id}': {
    get: {
      operationId: 'readWebhookDelivery',
      tags,
      summary: 'Read a delivery and its attempts',
      requestParams: { path: deliveryPath },
      responses: {
        200: json(deliveryView, 'The delivery.', examples.delivery),
        ...problems(['invalid_request', 'delivery_not_found', ...STORAGE]),
      },
    },
  },
  '/webhooks/deliveries/{id}/redeliver': {
    post: {
      operationId: 'redeliverWebhook',
      tags,
      summary: 'Send a delivery anew',
      description: 'With all its attempts, the same body and the same `webhook-id`.',
      requestParams: { path: deliveryPath },
      responses: {
        202: json(deliveryView, 'It is on its way.', examples.delivery),
        ...problems(['invalid_request', 'delivery_not_found', 'delivery_pending', 'storage_full', ...STORAGE]),
      },
    },
  },
  '/jobs/{id}/deliveries': {
    get: {
      operationId: 'listJobDeliveries',
      tags,
      summary: 'List the deliveries about a job',
      requestParams: { path: z.object({ id: z.string() }) },
      responses: {
        200: json(deliveryList, 'The newest first, 100 at most.', examples.deliveries),
        ...problems(['invalid_request', 'job_not_found', ...STORAGE]),
      },
    },
  },
  '/.well-known/webhook-keys': {
    get: {
      operationId: 'readWebhookKeys',
      tags,
      summary: 'Read the public keys of `v1a` signatures',
      requestParams: {
        query: z.object({
          endpoint: z.string().optional().describe('Of this endpoint; else of the webhooks that jobs name.'),
        }),
      },
      responses: {
        200: json(keys, 'One for each signing key.', examples.keys),
        ...problems(['invalid_request', 'endpoint_not_found', ...STORAGE]),
      },
    },
  },
};
