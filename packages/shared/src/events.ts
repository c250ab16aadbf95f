import { createHash } from 'node:crypto';
import { z } from 'zod';
import { jobProgress } from './job-progress.ts';

/** How a job can end, as an event. */
export const jobEndEvent = z.enum(['job.succeeded', 'job.failed', 'job.canceled', 'job.expired']);

/** What there is to be told about a job. What is no end is told only to those who name it. */
export const jobEventType = z.enum(['job.queued', 'job.started', 'job.progress', ...jobEndEvent.options]);
export type JobEventType = z.infer<typeof jobEventType>;

/** What there is to be told about the platform: to endpoints, of which there is no job. */
export const platformEventType = z.enum([
  'model.ready',
  'model.failed',
  'model.unloaded',
  'endpoint.disabled',
  'endpoint.test',
]);
export type PlatformEventType = z.infer<typeof platformEventType>;

/** Every event that a webhook can tell. */
export const eventType = z.enum([...jobEventType.options, ...platformEventType.options]);
export type EventType = z.infer<typeof eventType>;

const born = {
  id: z.string().min(1),
  tenant: z.string().min(1),
  occurred_at_ms: z.number().int().nonnegative(),
};

/**
 * An entry of the outbox: born in the script that changed the state it tells of, read by the relay.
 * It names the job instead of carrying it; the relay renders the body once, so that every retry sends the same bytes.
 *
 * 1: for the `webhook` of a job. 2: for the endpoints of its tenant that want it. 3: about no job, with its data; for the
 * endpoints of its tenant, or of all of them (`*`). 4: a delivery that is to be made anew.
 */
export const outboxEvent = z.discriminatedUnion('schema_version', [
  z.object({
    schema_version: z.literal(1),
    ...born,
    type: jobEventType,
    job_id: z.string().min(1),
    run: z.number().int().positive(),
    url: z.string().min(1),
    progress: jobProgress.optional(),
  }),
  z.object({
    schema_version: z.literal(2),
    ...born,
    type: jobEventType,
    job_id: z.string().min(1),
    run: z.number().int().positive(),
    progress: jobProgress.optional(),
  }),
  z.object({
    schema_version: z.literal(3),
    ...born,
    type: platformEventType,
    /** The only endpoint that it is for. */
    endpoint_id: z.string().optional(),
    model: z.string().optional(),
    data: z.record(z.string(), z.unknown()),
  }),
  z.object({
    schema_version: z.literal(4),
    ...born,
    delivery_id: z.string(),
    /** Counts how often that was ordered. */
    round: z.number().int(),
  }),
]);
export type OutboxEvent = z.infer<typeof outboxEvent>;
export type JobOutboxEvent = Extract<OutboxEvent, { schema_version: 1 | 2 }>;
export type PlatformOutboxEvent = Extract<OutboxEvent, { schema_version: 3 }>;

/** In place of a tenant: all of them. */
export const EVERY_TENANT = '*';

/**
 * The event's id is a function of (job, run, event, sequence), so a commit or a relay that runs twice names the same
 * event twice, and a receiver can drop the second.
 */
export function eventId(jobId: string, run: number, type: EventType, sequence = 0): string {
  // SHA-1, since the scripts in Redis compute it too and have no other; it names, it secures nothing.
  const digest = createHash('sha1').update(`${jobId}\n${run}\n${type}\n${sequence}`).digest('hex');
  return `evt_${digest.slice(0, 32)}`;
}
