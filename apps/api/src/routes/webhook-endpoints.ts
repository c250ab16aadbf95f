import {
  deriveSigningKey,
  eventType,
  isEndpointId,
  jobEndEvent,
  modelName,
  Problem,
  publicKeyText,
  tenantReceiver,
  type WebhookEndpoint,
  type WebhookEndpoints,
} from '@onqueue/shared';
import { type Request, type RequestHandler, Router } from 'express';
import { z } from 'zod';
import { actorOf, tenantOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { validate } from '../http/validation.ts';
import { isoTime, isoTimeOrNull } from '../iso-time.ts';
import type { webhookEndpointView } from '../openapi/webhook-operations.ts';
import type { WebhookPolicy } from '../webhook-policy.ts';

export interface WebhookEndpointRoutesOptions {
  endpoints: WebhookEndpoints;
  checkWebhook: WebhookPolicy;
  readBody: readonly RequestHandler[];
  /** Of `v1a` signatures. */
  signingSeeds: readonly Uint8Array[];
  maxEndpoints: number;
  secretOverlapS: number;
  publicUrl: string | undefined;
}

const distinct = (values: readonly unknown[]) => new Set(values).size === values.length;
const url = z.url({ protocol: /^https?$/ }).max(2048);
const events = z
  .array(eventType.exclude(['endpoint.test']))
  .min(1)
  .max(eventType.options.length)
  .refine(distinct, 'each event once')
  .describe('What it is told of.');
const models = z
  .array(modelName)
  .max(100)
  .refine(distinct, 'each model once')
  .describe('Of which models; of all when it is empty.');
const description = z.string().max(200);
const ratePerS = z.number().positive().max(10_000).describe('Deliveries a second.');
const concurrency = z.number().int().min(1).max(1024).describe('Deliveries in flight.');

/** The body of `POST /webhooks/endpoints`. */
export const endpointRequest = z.strictObject({
  url,
  events: events.default([...jobEndEvent.options]),
  models: models.default([]),
  description: description.optional(),
  rate_per_s: ratePerS.optional(),
  concurrency: concurrency.optional(),
});

/** The body of `PATCH /webhooks/endpoints/{id}`: what is to change. */
export const endpointChangeRequest = z.strictObject({
  url: url.optional(),
  events: events.optional(),
  models: models.optional(),
  description: description.nullable().optional(),
  rate_per_s: ratePerS.nullable().optional(),
  concurrency: concurrency.nullable().optional(),
  status: z.enum(['enabled', 'disabled']).optional(),
});

const MAX_OVERLAP_S = 2_592_000;

/** The body of `POST /webhooks/endpoints/{id}/rotate`. */
export const rotateRequest = z.strictObject({
  overlap_s: z
    .number()
    .int()
    .min(0)
    .max(MAX_OVERLAP_S)
    .optional()
    .describe('Seconds for which the secrets before go on signing beside it; 0 ends them at once.'),
});

/** Where a tenant is told of events. */
export function webhookEndpointRoutes(options: WebhookEndpointRoutesOptions): Router {
  const { endpoints, checkWebhook, readBody, maxEndpoints, secretOverlapS, publicUrl } = options;
  const router = Router();
  const none = queryParameters();
  const view = (endpoint: WebhookEndpoint) => endpointView(endpoint, options);
  const check = (target: string | undefined) => checkWebhook(target, { what: 'The endpoint', pointer: '/url' });

  router
    .route('/webhooks/endpoints')
    .get(none, async (_request, response) => {
      response.json({ object: 'list', data: (await endpoints.list(tenantOf(response))).map(view) });
    })
    .post(none, ...readBody, async (request, response) => {
      const wanted = validate(endpointRequest, request.body, 'The endpoint');
      check(wanted.url);
      const created = await endpoints.create(
        tenantOf(response),
        withoutUndefined(wanted),
        maxEndpoints,
        actorOf(response),
      );
      if (!created) {
        throw new Problem(
          'endpoints_full',
          `There are ${maxEndpoints} endpoints already (ONQUEUE_WEBHOOK_MAX_ENDPOINTS).`,
        );
      }
      const body = view(created.endpoint);
      response.set('Cache-Control', 'no-store').status(201).location(body.urls.self);
      response.json({ ...body, secret: created.secret });
    })
    .all(otherMethods('GET', 'POST'));
  router
    .route('/webhooks/endpoints/:id')
    .get(none, async (request, response) => {
      response.json(view(found(await endpoints.read(tenantOf(response), idOf(request)))));
    })
    .patch(none, ...readBody, async (request, response) => {
      const change = validate(endpointChangeRequest, request.body, 'The change');
      check(change.url);
      response.json(
        view(
          found(await endpoints.update(tenantOf(response), idOf(request), withoutUndefined(change), actorOf(response))),
        ),
      );
    })
    .delete(none, async (request, response) => {
      if (!(await endpoints.delete(tenantOf(response), idOf(request), actorOf(response)))) throw notFound();
      response.status(204).end();
    })
    .all(otherMethods('GET', 'PATCH', 'DELETE'));
  router
    .route('/webhooks/endpoints/:id/rotate')
    .post(none, ...readBody, async (request, response) => {
      const { overlap_s = secretOverlapS } = validate(rotateRequest, request.body, 'The rotation');
      const rotated = found(
        await endpoints.rotate(tenantOf(response), idOf(request), overlap_s * 1000, actorOf(response)),
      );
      response.set('Cache-Control', 'no-store').json({ ...view(rotated.endpoint), secret: rotated.secret });
    })
    .all(otherMethods('POST'));
  router
    .route('/webhooks/endpoints/:id/test')
    .post(none, async (request, response) => {
      const eventId = await endpoints.test(found(await endpoints.read(tenantOf(response), idOf(request))));
      const deliveries = `${publicUrl ?? ''}/webhooks/deliveries?endpoint=${idOf(request)}&type=endpoint.test`;
      response.status(202).json({ object: 'webhook_test', event_id: eventId, urls: { deliveries } });
    })
    .all(otherMethods('POST'));
  router
    .route('/.well-known/webhook-keys')
    .get(queryParameters('endpoint'), async (request, response) => {
      const { endpoint } = request.query;
      const isKnown = isEndpointId(endpoint) && (await endpoints.read(tenantOf(response), endpoint)) !== null;
      if (endpoint !== undefined && !isKnown) throw notFound();
      const receiver = endpoint === undefined ? tenantReceiver(tenantOf(response)) : String(endpoint);
      response.json({ keys: publicKeys(options.signingSeeds, receiver).map(toKey) });
    })
    .all(otherMethods('GET'));
  return router;
}

function endpointView(
  endpoint: WebhookEndpoint,
  { signingSeeds, publicUrl = '' }: WebhookEndpointRoutesOptions,
): z.infer<typeof webhookEndpointView> {
  const { id, url, events, models, status } = endpoint;
  const self = `${publicUrl}/webhooks/endpoints/${id}`;
  return {
    id,
    object: 'webhook_endpoint',
    url,
    description: endpoint.description ?? null,
    events,
    models,
    status,
    disabled_reason: endpoint.disabled_reason ?? null,
    rate_per_s: endpoint.rate_per_s ?? null,
    concurrency: endpoint.concurrency ?? null,
    secrets: endpoint.secrets.map((secret) => ({
      id: secret.id,
      created_at: isoTime(secret.created_ms),
      expires_at: isoTimeOrNull(secret.expires_ms),
    })),
    public_keys: publicKeys(signingSeeds, id),
    created_at: isoTime(endpoint.created_ms),
    updated_at: isoTime(endpoint.updated_ms),
    urls: { self, rotate: `${self}/rotate`, test: `${self}/test` },
  };
}

function publicKeys(seeds: readonly Uint8Array[], receiver: string): string[] {
  return seeds.map((seed) => publicKeyText(deriveSigningKey(seed, receiver)));
}

function toKey(key: string): { algorithm: 'ed25519'; signature: 'v1a'; public_key: string } {
  return { algorithm: 'ed25519', signature: 'v1a', public_key: key };
}

function idOf(request: Request): string {
  const { id } = request.params;
  if (!isEndpointId(id)) throw notFound();
  return id;
}

function found<T>(value: T | null): T {
  if (value === null) throw notFound();
  return value;
}

function notFound(): Problem {
  return new Problem('endpoint_not_found', 'There is no such endpoint.');
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function withoutUndefined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
