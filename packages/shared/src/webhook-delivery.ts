import { createHash } from 'node:crypto';
import { z } from 'zod';
import { eventType } from './events.ts';

/** How a delivery stands; `failed` is final until somebody has it sent again. */
export const deliveryStatus = z.enum(['pending', 'delivered', 'failed']);
export type DeliveryStatus = z.infer<typeof deliveryStatus>;

/** One try to deliver, as it is kept. */
export const deliveryAttempt = z.object({
  at_ms: z.number(),
  /** Of the answer, when there was one. */
  status: z.number().int().optional(),
  latency_ms: z.number(),
  outcome: z.string(),
  error_class: z.string().optional(),
  /** The first bytes of the answer's body. */
  answer: z.string().optional(),
});
export type DeliveryAttempt = z.infer<typeof deliveryAttempt>;

/** What is to be delivered: one event to one receiver. Never changes. */
export const deliveryContent = z.object({
  schema_version: z.literal(1),
  id: z.string(),
  event_id: z.string(),
  type: eventType,
  tenant: z.string(),
  job_id: z.string().optional(),
  model: z.string().optional(),
  request_id: z.string().optional(),
  /** The receiver: an endpoint, or the job's own webhook. */
  endpoint_id: z.string().optional(),
  url: z.string(),
  body: z.string(),
  occurred_at_ms: z.number(),
});
export type DeliveryContent = z.infer<typeof deliveryContent>;

/** A delivery with how it stands. */
export const deliveryRecord = deliveryContent.extend({
  status: deliveryStatus,
  created_ms: z.coerce.number(),
  /** Attempts in all, of which the newest are kept. */
  attempts: z.coerce.number().int(),
  log: z.array(deliveryAttempt),
  /** How often it was sent anew by hand. */
  round: z.coerce.number().int(),
});
export type DeliveryRecord = z.infer<typeof deliveryRecord>;

/** A function of event and receiver, so that whoever makes it twice makes one. */
export function deliveryId(eventId: string, receiver: string): string {
  const digest = createHash('sha256').update(`${eventId}\n${receiver}`).digest('hex');
  return `dlv_${digest.slice(0, 32)}`;
}

export function isDeliveryId(text: unknown): text is string {
  return typeof text === 'string' && /^dlv_[0-9a-f]{32}$/.test(text);
}

export interface DeliveryFilter {
  status?: DeliveryStatus;
  endpointId?: string;
  type?: string;
  jobId?: string;
  /** Unix ms of when they were made, or with status `failed` of when they failed: from (inclusive) to (exclusive). */
  fromMs?: number;
  toMs?: number;
}

export interface DeliveryPage {
  deliveries: DeliveryRecord[];
  /** Where the next page begins; undefined after the last. */
  next: string | undefined;
}

/** An attempt that ended; its delivery with it unless that is `pending`. */
export interface NotedAttempt {
  tenant: string;
  /** Of the delivery. */
  id: string;
  attempt: Omit<DeliveryAttempt, 'at_ms'>;
  status: DeliveryStatus;
}

/** What happened with each delivery, for those who look into it. Bounded and forgetful: no delivery depends on it. */
export interface DeliveryLog {
  /** Deliveries are on their way. Done twice, it changes nothing. */
  open(contents: readonly DeliveryContent[]): Promise<void>;
  /** Attempts that ended. */
  note(attempts: readonly NotedAttempt[]): Promise<void>;
  read(tenant: string, id: string): Promise<DeliveryRecord | null>;
  statusOf(tenant: string, id: string): Promise<DeliveryStatus | null>;
  /** Newest first. @throws Problem invalid_request for a cursor that is none. */
  list(tenant: string, filter: DeliveryFilter, limit: number, cursor?: string): Promise<DeliveryPage>;
  /** Has them sent anew: back to `pending`, in one step with the order to the relay. How many there were. */
  redeliver(tenant: string, ids: readonly string[]): Promise<number>;
}
