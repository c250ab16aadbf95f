import { eventType } from '@onqueue/shared';
import { z } from 'zod';
import type { DeliverySchedule } from './delivery-schedule.ts';
import type { EndpointShares } from './endpoint-shares.ts';

/** One event to one receiver; what the queue holds. The body is rendered once, so every attempt sends the same bytes. */
export const webhookDelivery = z.object({
  schema_version: z.literal(1),
  event_id: z.string().min(1),
  type: eventType,
  tenant: z.string().min(1),
  /** Of the job that it is about, where there is one. */
  job_id: z.string().min(1).optional(),
  url: z.string().min(1),
  body: z.string(),
  /** What logs and metrics say of it. Absent in deliveries of older versions, and of jobs past their retention. */
  request_id: z.string().optional(),
  model: z.string().optional(),
  /** When the job ended; Redis' clock. */
  occurred_at_ms: z.number().optional(),
  /** The queue's id of it, where an event has several deliveries; else it is the event's. */
  delivery_id: z.string().min(1).optional(),
  /** The registered endpoint that it is for; else the origin of its URL counts as one. */
  endpoint_id: z.string().min(1).optional(),
  /** The endpoint's own limits. */
  concurrency: z.number().int().positive().optional(),
  rate_per_s: z.number().positive().optional(),
  /** It waits until what its job has told this endpoint before is delivered or given up. */
  ordered: z.boolean().optional(),
  /** Of the trace that the job is part of. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
});
export type WebhookDelivery = z.infer<typeof webhookDelivery>;

export interface WebhookQueue {
  /** Durable when the promise resolves. A second delivery with the same id is dropped. */
  add(delivery: WebhookDelivery): Promise<void>;
}

export const WEBHOOK_QUEUE_NAME = 'webhooks';

/** How the keys of the queue begin, BullMQ's and ours. */
export function webhookKeys(prefix: string): { queueKeys: string; shareKeys: string } {
  return { queueKeys: `${prefix}:${WEBHOOK_QUEUE_NAME}:`, shareKeys: `${prefix}:${WEBHOOK_QUEUE_NAME}-shares:` };
}

export interface BullWebhookQueueOptions {
  shares: EndpointShares;
  schedule: DeliverySchedule;
  /** Whether the events of a job reach an endpoint one after the other. */
  isOrdered?: boolean | undefined;
}

/** The deliveries as jobs of a BullMQ queue, parked until their endpoints' turn has come. */
export function createBullWebhookQueue({ shares, schedule, isOrdered = false }: BullWebhookQueueOptions): WebhookQueue {
  const opts = JSON.stringify({
    attempts: schedule.attempts,
    backoff: { type: 'custom' },
    // A finished job still holds its id, which is what makes `add` idempotent: a relay that died between its two steps
    // comes back within seconds, an hour is ample.
    removeOnComplete: { age: 3600, count: 10_000 },
    // Seven days to look into what was never delivered; the count keeps a receiver that is gone from filling Redis.
    removeOnFail: { age: 7 * 24 * 3600, count: 10_000 },
    // The reason is kept as failedReason; stacks would be ten copies of our own frames.
    stackTraceLimit: 0,
  });
  return {
    async add(given) {
      const delivery = isOrdered ? { ...given, ordered: true } : given;
      await shares.add({
        ...placeOf(delivery),
        name: delivery.type,
        data: JSON.stringify(delivery),
        opts,
        delayMs: schedule.delayBeforeAttempt(1),
        concurrency: delivery.concurrency,
        ratePerS: delivery.rate_per_s,
      });
    },
  };
}

/** Where a delivery stands: its id, whose turn it waits for, and in which line. */
export function placeOf(delivery: WebhookDelivery): { id: string; endpoint: string; job: string | undefined } {
  const { event_id, delivery_id = event_id, tenant, endpoint_id, url, ordered, job_id } = delivery;
  // Per tenant: one that floods a receiver which others use too takes none of their share.
  return {
    id: delivery_id,
    endpoint: `${tenant}/${endpoint_id ?? receiverOf(url)}`,
    job: ordered ? job_id : undefined,
  };
}

/** Scheme, host and port: paths and queries of webhook URLs hold secrets often enough. */
export function receiverOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : 'unreadable';
}
