import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { type EventType, eventType } from './events.ts';

/** Why an endpoint is told nothing: somebody's wish, an answer of 410, or days without one success. */
export const endpointDisabledReason = z.enum(['requested', 'gone', 'failing']);
export type EndpointDisabledReason = z.infer<typeof endpointDisabledReason>;

/** What is known of a signing secret beside its bytes, which are kept apart (webhook-secrets.ts). */
export const endpointSecret = z.object({
  id: z.string(),
  created_ms: z.number(),
  /** Signs beside the newer ones until then; missing on the newest. */
  expires_ms: z.number().optional(),
});
export type EndpointSecret = z.infer<typeof endpointSecret>;

/** Where a tenant wants to be told of events. Times are Unix milliseconds of the Redis server's clock. */
export const webhookEndpoint = z.object({
  schema_version: z.literal(1),
  id: z.string(),
  tenant: z.string(),
  url: z.string(),
  description: z.string().optional(),
  /** Told of these. */
  events: z.array(eventType),
  /** Told of these models only; of all when it is empty. */
  models: z.array(z.string()),
  status: z.enum(['enabled', 'disabled']),
  disabled_reason: endpointDisabledReason.optional(),
  /** Newest first; there is always one that has no end. */
  secrets: z.array(endpointSecret).min(1),
  /** Deliveries a second; unlimited when it is missing. */
  rate_per_s: z.number().positive().optional(),
  /** Deliveries in flight, of all dispatchers; as configured when it is missing. */
  concurrency: z.number().int().positive().optional(),
  created_ms: z.number(),
  updated_ms: z.number(),
});
export type WebhookEndpoint = z.infer<typeof webhookEndpoint>;

/** Whether an endpoint is told of an event about a model, or about none. */
export function isSubscribed(
  { status, events, models }: Pick<WebhookEndpoint, 'status' | 'events' | 'models'>,
  type: EventType,
  model: string | undefined,
): boolean {
  if (status !== 'enabled' || !events.includes(type)) return false;
  return models.length === 0 || model === undefined || models.includes(model);
}

const ID = /^ep_[0-9a-f]{32}$/;

/** 128 random bits cannot be guessed. */
export function newEndpointId(): string {
  return `ep_${randomBytes(16).toString('hex')}`;
}

export function isEndpointId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}
