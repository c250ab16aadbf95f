import { eventType } from '@onqueue/shared';
import type { RedisConnection } from '@onqueue/shared/redis';
import { Queue } from 'bullmq';
import { z } from 'zod';
import type { DeliverySchedule } from './delivery-schedule.ts';

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
});
export type WebhookDelivery = z.infer<typeof webhookDelivery>;

export interface WebhookQueue {
  /** Durable when the promise resolves. A second delivery with the same event id is dropped. */
  add(delivery: WebhookDelivery): Promise<void>;
  close(): Promise<void>;
}

export const WEBHOOK_QUEUE_NAME = 'webhooks';

export interface BullWebhookQueueOptions {
  /** Shared with others if you like; not closed here. */
  connection: RedisConnection;
  /** The start of the queue's keys; the dispatcher must use the same. */
  prefix: string;
  schedule: DeliverySchedule;
  /** Failures of the connection between two commands; without a listener they would end the process. */
  onError: (error: Error) => void;
}

export function createBullWebhookQueue({
  connection,
  prefix,
  schedule,
  onError,
}: BullWebhookQueueOptions): WebhookQueue {
  const queue = new Queue<WebhookDelivery>(WEBHOOK_QUEUE_NAME, {
    connection,
    prefix,
    // Nobody listens to BullMQ's own events; its default keeps 10,000 of them.
    streams: { events: { maxLen: 100 } },
    defaultJobOptions: {
      attempts: schedule.attempts,
      backoff: { type: 'custom' },
      // A finished job still holds its id, which is what makes `add` idempotent: a relay that died between its two steps
      // comes back within seconds, an hour is ample.
      removeOnComplete: { age: 3600, count: 10_000 },
      // Seven days to look into what was never delivered; the count keeps a receiver that is gone from filling Redis.
      removeOnFail: { age: 7 * 24 * 3600, count: 10_000 },
      // The reason is kept as failedReason; stacks would be ten copies of our own frames.
      stackTraceLimit: 0,
    },
  });
  queue.on('error', onError);
  return {
    async add(delivery) {
      const { event_id, delivery_id = event_id } = delivery;
      await queue.add(delivery.type, delivery, { jobId: delivery_id, delay: schedule.delayBeforeAttempt(1) });
    },
    close: () => queue.close(),
  };
}
