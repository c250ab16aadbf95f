import { z } from 'zod';

/** What `webhooks listen` tells of a delivery, with --json as it is. */
export interface ShownDelivery {
  object: 'delivery';
  received_at: string;
  event_id: string | null;
  type: string | null;
  /** Whether one of the secrets has signed it, just now. */
  verified: boolean;
  /** Why not. */
  reason: string | null;
  /** What the sender was answered, and how long the target took to say so. */
  status: number;
  forward_ms: number | null;
  /** Why the target did not. */
  forward_error: string | null;
  data: unknown;
}

const eventBody = z.object({ type: z.string(), data: z.unknown() });
const subject = z.object({ id: z.string().optional(), model: z.string().optional(), version: z.string().optional() });

/** Type and data of an event; nulls for a body that is none. */
export function parseEventBody(body: Buffer): { type: string | null; data: unknown } {
  try {
    return eventBody.parse(JSON.parse(body.toString()));
  } catch {
    return { type: null, data: null };
  }
}

export function deliveryText(delivery: ShownDelivery): string {
  const { received_at, event_id, type, reason, status, forward_ms, forward_error } = delivery;
  const outcome = [`-> ${status}`, forward_ms === null ? '' : `in ${forward_ms} ms`, forward_error ?? '', reason ?? ''];
  return [
    received_at.slice(11, 23),
    type ?? 'no event',
    event_id ?? '',
    subjectOf(delivery.data),
    outcome.filter((part) => part !== '').join(' '),
  ]
    .filter((part) => part !== '')
    .join('  ');
}

function subjectOf(data: unknown): string {
  const { id, model = '', version = '' } = subject.safeParse(data).data ?? {};
  return id ?? (version === '' ? model : `${model}/${version}`);
}
