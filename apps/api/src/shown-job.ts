import {
  type DeliveryLog,
  type DeliveryStatus,
  deliveryId,
  eventId,
  isTerminal,
  type JobRecord,
  type JobView,
  jobEndEvent,
  toJobView,
} from '@onqueue/shared';

export type DeliveryStatuses = Pick<DeliveryLog, 'statusOf'>;

/** A job with how its webhook stands, which is no part of its state. */
export async function showJob(
  deliveries: DeliveryStatuses,
  record: JobRecord,
  publicUrl: string | undefined,
): Promise<JobView & { webhook_status: DeliveryStatus | null }> {
  return { ...toJobView(record, publicUrl), webhook_status: await webhookStatusOf(deliveries, record) };
}

/** So long after its end an event may not have been entered yet; later, nothing is known of it any more. */
const ENTERED_WITHIN_MS = 60_000;

async function webhookStatusOf(
  deliveries: DeliveryStatuses,
  { id, tenant, run, state, finished_us, request: { webhook, webhook_events: wanted } }: JobRecord,
): Promise<DeliveryStatus | null> {
  if (webhook === undefined || !isTerminal(state)) return null;
  const type = jobEndEvent.parse(`job.${state}`);
  if (wanted && !wanted.includes(type)) return null;
  const status = await deliveries.statusOf(tenant, deliveryId(eventId(id, run, type), webhook));
  if (status !== null || finished_us === undefined) return status;
  return Date.now() - finished_us / 1000 < ENTERED_WITHIN_MS ? 'pending' : null;
}
