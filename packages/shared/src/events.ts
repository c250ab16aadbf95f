import { createHash } from 'node:crypto';
import { z } from 'zod';

/** What a webhook can tell about a job. */
export const eventType = z.enum(['job.succeeded', 'job.failed', 'job.canceled', 'job.expired']);
export type EventType = z.infer<typeof eventType>;

/**
 * An entry of the outbox: born in the commit that changed the job's state, read by the relay.
 * It names the job instead of carrying it; the relay renders the body once, so that every retry sends the same bytes.
 */
export const outboxEvent = z.object({
  schema_version: z.literal(1),
  id: z.string().min(1),
  type: eventType,
  tenant: z.string().min(1),
  job_id: z.string().min(1),
  run: z.number().int().positive(),
  occurred_at_ms: z.number().int().nonnegative(),
  url: z.string().min(1),
});
export type OutboxEvent = z.infer<typeof outboxEvent>;

/**
 * The event's id is a function of (job, run, event, sequence), so a commit or a relay that runs twice names the same
 * event twice, and a receiver can drop the second.
 */
export function eventId(jobId: string, run: number, type: EventType, sequence = 0): string {
  // SHA-1, since the scripts in Redis compute it too and have no other; it names, it secures nothing.
  const digest = createHash('sha1').update(`${jobId}\n${run}\n${type}\n${sequence}`).digest('hex');
  return `evt_${digest.slice(0, 32)}`;
}
